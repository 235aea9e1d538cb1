"""What a recipe says: the whole setting of an experiment, as typed values.

Every field can be overridden by its dotted name (`optimization.epochs`) on the command line or as a keyword. A number's
range stands beside its type and is checked whenever a recipe is read or built; what must fit together is in
`rltemp.recipes.consistency`.

A recipe may come from a stranger: reading it runs nothing. What it names is fetched from the network (`data.download`,
networks with published weights) only by leave of whoever runs it, `--allow-download`, which no recipe can give.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from rltemp.policies.learned import HIGHEST, LOWEST, MOST_LAYERS, WIDEST
from rltemp.recipes.ranges import Length, Range

__all__ = ["Agent", "Credit", "Data", "Execution", "Network", "Optimization", "PolicySpace", "Recipe", "Teacher"]

Credit = Literal["uniform", "redistribution", "influence", "hindsight"]
"""How the reward of a batch becomes credit of its instances; see `Agent.credit`."""


@dataclass(frozen=True)
class Data:
    """Images, and who may see which.

    Attributes:
        name: "digits" (bundled), "cifar100" (torchvision's files, or a tree of images) or "folder" (a tree of images:
            train/<class>/*, test/<class>/*).
        path: folder of the data; unused by "digits".
        download: let torchvision download CIFAR-100 into `path` if it is not there; needs `--allow-download`.
        train: number of training images; all policies train on the same ones.
        validation: number of held-out images of the training data: the reward's probe, and what anything is picked on.
        split_seed: which images fall into which part.
        image_size: average-pool images to this size; null keeps them.
        shift: augmentation by shifts of up to this many pixels.
        noise: standard deviation of the Gaussian noise added to training images, in the unit the network sees.
        flip: augmentation by horizontal flips.
        in_memory: keep all images decoded, at one size. If false, for "folder" alone, training images stay on disk and
            may be of any size: they are decoded as they are needed, cropped at random to 8 to 100 % of the area and
            resized to `image_size`. Validation and test images, their centers, are in memory in any case.
        workers: processes that decode, for each student, where images are on disk.
        views: augmented views of each training image that students meet, drawn once, so that the teacher is asked once
            per view; null augments anew every time. Without augmentation there is one view anyway.
        label_noise: share of training labels replaced by random ones.
    """

    name: Literal["digits", "cifar100", "folder"] = "digits"
    path: str | None = None
    download: bool = False
    train: Annotated[int, Range(1)] = 600
    validation: Annotated[int, Range(1)] = 300
    split_seed: Annotated[int, Range(0)] = 0
    image_size: Annotated[int, Range(1, 4096)] | None = None
    shift: Annotated[int, Range(0, 4096)] = 1
    noise: Annotated[float, Range(0)] = 0.3
    flip: bool = False
    in_memory: bool = True
    workers: Annotated[int, Range(0)] = 0
    views: Annotated[int, Range(1)] | None = None
    label_noise: Annotated[float, Range(0, 1)] = 0.0


@dataclass(frozen=True)
class Network:
    """A network by its registered name, and the options its builder takes.

    One whose architecture or weights come from the network, such as "timm:hf-hub:...", needs `--allow-download`.
    """

    name: str = "mlp"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimization:
    """How a network is trained.

    Attributes:
        epochs: passes over the training images.
        batch_size: instances per update; the last incomplete batch of an epoch is left out.
        lr: initial learning rate of SGD.
        momentum: momentum of SGD.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: L2 penalty.
        schedule: "cosine" to zero over the run, or "multistep": x 0.1 at each milestone.
        milestones: shares of the run at which "multistep" lowers the rate.
        ce_weight: weight of the cross-entropy with the labels.
        kd_weight: weight of the distillation loss.
        objective: "kd" or "dkd".
    """

    epochs: Annotated[int, Range(1)] = 5
    batch_size: Annotated[int, Range(1)] = 32
    lr: Annotated[float, Range(above=0)] = 0.05
    momentum: Annotated[float, Range(0, below=1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Range(0)] = 0.0
    schedule: Literal["cosine", "multistep"] = "cosine"
    milestones: tuple[Annotated[float, Range(above=0, most=1)], ...] = (0.625, 0.75, 0.875)
    ce_weight: Annotated[float, Range(0)] = 0.1
    kd_weight: Annotated[float, Range(0)] = 0.9
    objective: Literal["kd", "dkd"] = "kd"


@dataclass(frozen=True)
class Teacher:
    """The network that is distilled: the mean logits of an ensemble.

    Attributes:
        network: architecture of each member.
        members: size of the ensemble.
        train: number of training images, the student's among them, none of validation or test; null takes the
            student's alone.
        shift: augmentation by shifts while the teacher is trained; null takes the student's.
        flip: augmentation by flips while the teacher is trained; null takes the student's.
        epochs: passes over the training images.
        batch_size: instances per update.
        lr: initial learning rate of SGD (momentum 0.9, Nesterov, cosine).
        weight_decay: L2 penalty.
        seed: initialisation, order and augmentation of the teacher's training.
        checkpoint: weights to load instead of training: .safetensors, or a checkpoint in the format of CRD.
    """

    network: Network = field(default_factory=lambda: Network("mlp", {"hidden": [256, 256]}))
    members: Annotated[int, Range(1)] = 5
    train: Annotated[int, Range(1)] | None = None
    shift: Annotated[int, Range(0, 4096)] | None = None
    flip: bool | None = None
    epochs: Annotated[int, Range(0)] = 60
    batch_size: Annotated[int, Range(1)] = 32
    lr: Annotated[float, Range(above=0)] = 0.05
    weight_decay: Annotated[float, Range(0)] = 0.0005
    seed: Annotated[int, Range(0)] = 0
    checkpoint: str | None = None


@dataclass(frozen=True)
class Execution:
    """Where and how networks run. Another choice gives the same experiment with other rounding errors.

    Attributes:
        device: "cpu", "cuda", or "auto": a GPU where there is one.
        precision: what convolutions compute in; parameters, logits and losses are float32 in any case.
        channels_last: keep the channels of a pixel together: convolutions are faster, on most devices by far.
        compile: compile students and teacher, for GPUs, where small networks otherwise wait for one launch after the
            other; on a CPU it gained nothing.
    """

    device: Literal["auto", "cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False


@dataclass(frozen=True)
class PolicySpace:
    """What a policy sees and what it may choose.

    Attributes:
        low: smallest temperature.
        high: largest temperature.
        scale: of an instance's loss: a number for all, so that a temperature decides how soft an instance is and no
            longer how much it counts; null for T^2.
        alignment: what the policy sees of the probe: "none" (logits alone), "classifier" (effects through the last
            layer, nearly free) or "network" (effects through all layers, by one forward-mode derivative).
        probe_size: clean training images behind the alignment, drawn anew at each refresh.
        every: updates between two refreshes of the probe gradient.
        features: names out of `LogitFeatures` that a policy in training sees; empty for all that the alignment allows.
    """

    low: Annotated[float, Range(LOWEST, HIGHEST)] = 0.5
    high: Annotated[float, Range(LOWEST, HIGHEST)] = 32.0
    scale: Annotated[float, Range(LOWEST, HIGHEST)] | None = None
    alignment: Literal["none", "classifier", "network"] = "network"
    probe_size: Annotated[int, Range(1)] = 600
    every: Annotated[int, Range(1)] = 1
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agent:
    """How PPO learns the policy.

    Attributes:
        students: students that train side by side in one rollout.
        rollouts: rollouts (whole KD runs of all students), each followed by one PPO update.
        credit: how the batch reward becomes credit of instances: "uniform", "redistribution" and "influence" pay
            them at every step, "hindsight" credits them with what they did to the end of the run.
        influence_weight: weight of the influence term.
        return_weight: size, beside the credit of "hindsight", of the advantage that the rewards give. All instances of
            a student share it, so that with few students it is mostly noise.
        reward_scale: factor on the reward before PPO sees it.
        reward_every: updates that are paid together, with the last of them, which bounds the cost of the reward's
            probe; the sum over a run stays the same. 1 for "influence".
        learning_rate: Adam's learning rate.
        gae_lambda: bias-variance trade-off of the advantage.
        target_kl: trust region: an update stops once the policy moved this far.
        epochs: passes over a rollout.
        minibatches: gradient steps per pass.
        hidden: widths of the policy's and the value function's hidden layers.
        log_std: initial log standard deviation of the exploration.
        start: a trained policy to go on from, by its folder or name; null begins at one temperature for all.
        variations: what the agent trains on besides the recipe, one rollout after the other: changes of it by dotted
            name, such as {data.split_seed: 2, teacher.seed: 2}. All have the same updates and batch size.
        seed: everything random in the agent's training.
    """

    students: Annotated[int, Range(1)] = 16
    rollouts: Annotated[int, Range(1)] = 12
    credit: Credit = "hindsight"
    influence_weight: Annotated[float, Range(0)] = 2.0
    return_weight: Annotated[float, Range(0)] = 0.3
    reward_scale: Annotated[float, Range(above=0)] = 5.0
    reward_every: Annotated[int, Range(1)] = 1
    learning_rate: Annotated[float, Range(above=0)] = 3e-3
    gae_lambda: Annotated[float, Range(0, 1)] = 0.95
    target_kl: Annotated[float, Range(above=0)] = 0.1
    epochs: Annotated[int, Range(1)] = 8
    minibatches: Annotated[int, Range(1)] = 12
    hidden: Annotated[tuple[Annotated[int, Range(1, WIDEST)], ...], Length(MOST_LAYERS)] = (64, 64)
    log_std: Annotated[float, Range(-20, 2)] = -2.0
    start: str | None = None
    variations: Annotated[tuple[dict[str, Any], ...], Length(256)] = ()
    seed: Annotated[int, Range(0)] = 0


@dataclass(frozen=True)
class Recipe:
    """A whole setting: what is distilled into what, on which data, and how the agent learns."""

    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    student: Network = field(default_factory=lambda: Network("mlp", {"hidden": [16]}))
    optimization: Optimization = field(default_factory=Optimization)
    policy: PolicySpace = field(default_factory=PolicySpace)
    agent: Agent = field(default_factory=Agent)
    execution: Execution = field(default_factory=Execution)
