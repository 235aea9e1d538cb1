"""The whole loop in one file: students are distilled side by side, PPO learns their temperatures, instance by instance.

    python examples/single_file.py

It imports torch and data, nothing of rltemp, to be read from top to bottom. Features, temperatures, losses, rewards and
advantages are the library's own, which a test checks number by number. Where it is simpler than the library:

- images are not augmented, and minibatches are drawn with replacement;
- the teacher is one network, not five;
- an instance's credit is its effect on the next loss, through the last layer (the library's "influence"), where the
  library by default looks back from the end of the run through all layers;
- the policy sees logits only, no probe of training images;
- the size of the credit is taken from the rollout at hand, where the library keeps a running one;
- nothing is saved, resumed or logged.
"""

import dataclasses
import math

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Args:
    """The setting.

    Attributes:
        seed: everything random.
        train: training images; a probe of 300 others pays the reward, and the rest are test images.
        batch_size: instances of an update, B.
        steps: updates of a student's whole life.
        lr: the students' learning rate at the start; cosine to 0, momentum 0.9, Nesterov.
        ce_weight: weight of the labels.
        kd_weight: weight of the distillation.
        low: smallest temperature.
        high: largest temperature.
        students: students side by side, K.
        rollouts: episodes of all students, each followed by an update of the policy.
        influence_weight: how much pay differs between the instances of a batch.
        reward_scale: factor on the reward.
        gae_lambda: bias against variance of the advantage.
        policy_lr: the policy's learning rate.
        passes: over a rollout, at most.
        minibatches: of a pass.
        clip: of the probability ratio.
        target_kl: an update ends where the policy moved 1.5 times this far.
        log_std: of the exploration, at the start.
    """

    seed: int = 0
    train: int = 600
    batch_size: int = 32
    steps: int = 90
    lr: float = 0.05
    ce_weight: float = 0.1
    kd_weight: float = 0.9
    low: float = 0.5
    high: float = 32.0
    students: int = 8
    rollouts: int = 6
    influence_weight: float = 2.0
    reward_scale: float = 5.0
    gae_lambda: float = 0.95
    policy_lr: float = 1e-3
    passes: int = 10
    minibatches: int = 10
    clip: float = 0.2
    target_kl: float = 0.03
    log_std: float = -2.0


# ---------------------------------------------------------------------------------------------------------- the pieces


def logit_features(student: Tensor, teacher: Tensor, targets: Tensor, progress: float) -> Tensor:
    """What the policy sees: logits [..., C] of both, targets [...] -> [..., 13] in [0, 1]."""
    columns, log_probabilities = [], []
    for logits in (teacher, student):
        log_p = logits.log_softmax(-1)
        p = log_p.exp()
        first, second = p.topk(2, dim=-1).values.unbind(-1)
        spread = logits.std(-1)
        entropy = -(p * log_p).sum(-1) / math.log(logits.shape[-1])
        label = p.gather(-1, targets[..., None]).squeeze(-1)
        columns += [first, first - second, entropy, spread / (spread + 4.0), label]
        log_probabilities.append(log_p)
    log_p, log_q = log_probabilities
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    agreement = (teacher.argmax(-1) == student.argmax(-1)).float()
    columns += [1.0 - torch.exp(-divergence.clamp(min=0.0)), agreement, torch.full_like(agreement, progress)]
    return torch.stack(columns, dim=-1).clamp(0.0, 1.0)


def action_to_temperature(action: Tensor, low: float, high: float) -> Tensor:
    """Actions in [-1, 1] to [low, high], on a log scale."""
    return low * (high / low) ** ((action.clamp(-1.0, 1.0) + 1.0) / 2.0)


def kd_loss(student: Tensor, teacher: Tensor, t: Tensor) -> Tensor:
    """T^2 KL(teacher || student), both softened by T: logits [..., C], t [...] -> [...]."""
    log_p, log_q = (teacher / t[..., None]).log_softmax(-1), (student / t[..., None]).log_softmax(-1)
    return t * t * (log_p.exp() * (log_p - log_q)).sum(-1)


def probe_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy per student, float64 [K]; an update changes it in the fourth digit."""
    log_p = logits.double().log_softmax(-1)
    return -log_p.gather(-1, targets.expand(logits.shape[:-1])[..., None]).squeeze(-1).mean(-1)


def calibrate(reward: Tensor, influence: Tensor, weight: float) -> Tensor:
    """Pay [S, K, B] of the instances of batches that earned `reward` [S, K]: its mean is what the batch earned."""
    centered = influence - influence.mean(-1, keepdim=True)
    unit = reward.square().mean().sqrt() / (centered.square().mean().sqrt() + 1e-12)
    return reward[..., None] + weight * unit * centered


def advantages(pay: Tensor, values: Tensor, gae_lambda: float) -> Tensor:
    """Of pay and values [S, K, B]: along a student's life, plus what the instance itself was paid more.

    A_i = GAE(R, V) + (r_i - R) - (V_i - V), with R and V the means over the instances and no discount; every episode
    ends after S steps.
    """
    reward, value = pay.mean(-1), values.mean(-1)
    along, last = torch.zeros_like(reward), torch.zeros_like(reward[0])
    for step in reversed(range(len(reward))):
        following = value[step + 1] if step + 1 < len(reward) else torch.zeros_like(last)
        last = reward[step] + following - value[step] + gae_lambda * last
        along[step] = last
    return along[..., None] + (pay - reward[..., None]) - (values - value[..., None])


# -------------------------------------------------------------------------------------------------- the environment


class Environment:
    """K students of 64-16-10 units under one teacher; a step is one update of all of them."""

    def __init__(self, args: Args) -> None:
        self.args = args
        pixels, labels = load_digits(return_X_y=True)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(args.seed))
        images, targets = torch.from_numpy(pixels).float()[order] / 16.0, torch.from_numpy(labels)[order]
        parts = [args.train, 300, len(labels) - args.train - 300]
        self.images, self.probe_images, self.test_images = images.split(parts)
        self.targets, self.probe_targets, self.test_targets = targets.split(parts)
        teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(teacher.parameters(), lr=0.005)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(teacher(self.images), self.targets).backward()
            optimizer.step()
        with torch.no_grad():
            self.teacher_logits = teacher(self.images)

    def reset(self, seed: int) -> Tensor:
        """Fresh students; what the policy sees of their first minibatch, [K, B, 13]."""
        self.generator = torch.Generator().manual_seed(seed)
        sizes, k = ((64, 16), (16, 10)), self.args.students
        self.weights = []
        for inputs, outputs in sizes:
            for shape in ((k, inputs, outputs), (k, 1, outputs)):
                start = 2.0 * torch.rand(shape, generator=self.generator) - 1.0
                self.weights.append((start * inputs**-0.5).requires_grad_())
        self.velocity = [torch.zeros_like(weight) for weight in self.weights]
        self.step_number = 0
        self.before = self.measure()
        return self.observe()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden activations [K, N, 16] and logits [K, N, 10] of images [N, 64] or [K, N, 64]."""
        first, bias, second, last_bias = self.weights
        hidden = (images @ first + bias).relu()
        return hidden, hidden @ second + last_bias

    def measure(self) -> Tensor:
        """The probe's loss, and its gradient by the last layer for credit."""
        with torch.no_grad():
            hidden, logits = self.forward(self.probe_images)
            errors = logits.softmax(-1) - F.one_hot(self.probe_targets, 10)
            self.probe_gradient = hidden.mT @ errors / len(self.probe_targets), errors.mean(1, keepdim=True)
            return probe_loss(logits, self.probe_targets)

    def observe(self) -> Tensor:
        """Draw the next minibatch of every student; features [K, B, 13]."""
        shape = (self.args.students, self.args.batch_size)
        self.batch = torch.randint(self.args.train, shape, generator=self.generator)
        self.hidden, self.logits = self.forward(self.images[self.batch])
        progress = self.step_number / self.args.steps
        teacher_logits, targets = self.teacher_logits[self.batch], self.targets[self.batch]
        return logit_features(self.logits.detach(), teacher_logits, targets, progress)

    def step(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One update at temperatures [K, B]: the next features, the reward [K] and each instance's influence [K, B]."""
        args, teacher_logits, targets = self.args, self.teacher_logits[self.batch], self.targets[self.batch]
        with torch.no_grad():
            by_weight, by_bias = self.probe_gradient
            along = self.hidden @ by_weight + by_bias
            excess = (self.logits / t[..., None]).softmax(-1) - (teacher_logits / t[..., None]).softmax(-1)
            influence = (along * t[..., None] * excess).sum(-1)

        ce = F.cross_entropy(self.logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(t)
        loss = args.ce_weight * ce + args.kd_weight * kd_loss(self.logits, teacher_logits, t)
        # The sum over students: each has parameters of its own.
        gradients = torch.autograd.grad(loss.mean(-1).sum(), self.weights)
        lr = args.lr * (1.0 + math.cos(math.pi * self.step_number / args.steps)) / 2.0
        with torch.no_grad():
            for weight, velocity, gradient in zip(self.weights, self.velocity, gradients, strict=True):
                velocity.mul_(0.9).add_(gradient)
                weight.sub_(lr * (gradient + 0.9 * velocity))
        self.step_number += 1
        before, self.before = self.before, self.measure()
        return self.observe(), (before - self.before).float(), influence

    def accuracy(self) -> Tensor:
        """Of the students on the test images, [K]; for people, never for the policy."""
        with torch.no_grad():
            return (self.forward(self.test_images)[1].argmax(-1) == self.test_targets).float().mean(-1)


# ---------------------------------------------------------------------------------------------------------- the agent


def mlp(outputs: int) -> nn.Sequential:
    """A small network of one instance's features."""
    return nn.Sequential(nn.Linear(13, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class Agent(nn.Module):
    """Policy and value of one instance, with exploration that all instances of a student share for an episode."""

    def __init__(self, log_std: float) -> None:
        super().__init__()
        self.actor, self.critic = mlp(1), mlp(1)
        self.log_std = nn.Parameter(torch.full((64,), log_std))
        with torch.no_grad():
            self.actor[-1].weight.mul_(0.01)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean action, its deviation, and the last hidden layer, of features [..., 13]."""
        hidden = self.actor[:-1](4.0 * (features - 0.5))
        mean = self.actor[-1](hidden).squeeze(-1)
        deviation = (hidden.detach().square() @ (2.0 * self.log_std).exp() + 1e-6).sqrt()
        return mean, deviation, hidden.detach()

    def value(self, features: Tensor) -> Tensor:
        """What is still to come, [...]."""
        return self.critic(4.0 * (features - 0.5)).squeeze(-1)


def play(env: Environment, agent: Agent, seed: int, explore: bool = True) -> dict[str, Tensor]:
    """One episode of all students; everything [S, K, B], the reward [S, K]."""
    noise = torch.randn(env.args.students, 64, 1) * agent.log_std.detach().exp()[:, None] * explore
    rollout: dict[str, list[Tensor]] = {}
    features = env.reset(seed)
    for _ in range(env.args.steps):
        with torch.no_grad():
            mean, deviation, hidden = agent(features)
            action = mean + (hidden @ noise).squeeze(-1)
            log_prob = torch.distributions.Normal(mean, deviation).log_prob(action)
            value = agent.value(features)
        following, reward, influence = env.step(action_to_temperature(action, env.args.low, env.args.high))
        seen = {"features": features, "action": action, "log_prob": log_prob, "value": value}
        for name, tensor in {**seen, "reward": reward, "influence": influence}.items():
            rollout.setdefault(name, []).append(tensor)
        features = following
    return {name: torch.stack(tensors) for name, tensors in rollout.items()}


def update(agent: Agent, optimizer: torch.optim.Optimizer, rollout: dict[str, Tensor], args: Args) -> float:
    """PPO on one rollout; how far the policy moved (an estimate of the KL divergence)."""
    pay = args.reward_scale * calibrate(rollout["reward"], rollout["influence"], args.influence_weight)
    advantage = advantages(pay, rollout["value"], args.gae_lambda)
    returns = (advantage + rollout["value"]).flatten()
    features, action = rollout["features"].flatten(0, 2), rollout["action"].flatten()
    old, advantage, kl = rollout["log_prob"].flatten(), advantage.flatten(), 0.0
    for _ in range(args.passes):
        for batch in torch.randperm(len(action)).chunk(args.minibatches):
            mean, deviation, _ = agent(features[batch])
            log_ratio = torch.distributions.Normal(mean, deviation).log_prob(action[batch]) - old[batch]
            ratio = log_ratio.exp()
            kl = (ratio - 1.0 - log_ratio).mean().item()
            if kl > 1.5 * args.target_kl:
                return kl
            gain = advantage[batch]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            clipped = ratio.clamp(1.0 - args.clip, 1.0 + args.clip)
            policy_loss = -torch.minimum(ratio * gain, clipped * gain).mean()
            value_loss = F.mse_loss(agent.value(features[batch]), returns[batch])
            optimizer.zero_grad()
            (policy_loss + 0.5 * value_loss).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
    return kl


def main(args: Args = Args()) -> list[float]:
    """Train a policy; what the students of every rollout gained on the probe."""
    torch.manual_seed(args.seed)
    env, agent = Environment(args), Agent(args.log_std)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.policy_lr, eps=1e-5)
    gains = []
    for number in range(args.rollouts):
        rollout = play(env, agent, seed=1000 + number)
        gains.append(rollout["reward"].sum(0).mean().item())
        kl = update(agent, optimizer, rollout, args)
        print(f"rollout {number}  return {gains[-1]:.4f}  kl {kl:.3f}")
    play(env, agent, seed=1, explore=False)
    learned = env.accuracy().mean().item()
    env.reset(seed=1)
    for _ in range(args.steps):
        env.step(torch.full((args.students, args.batch_size), 4.0))
    print(f"test accuracy  learned {learned:.1%}  T = 4 {env.accuracy().mean().item():.1%}")
    return gains


if __name__ == "__main__":
    main()
