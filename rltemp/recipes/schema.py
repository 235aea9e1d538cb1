"""Schema of recipes: the complete settings of an experiment, as typed values.

Every field can be overridden by its dotted name (`optimization.epochs`) on the command line or as a keyword. A number's
range stands beside its type, and is checked whenever a recipe is read or built, and values against each other too.

A recipe may come from an untrusted source: reading it runs no code. It is allowed to download (`data.download`,
networks with published weights) only with `--allow-download`, and to import a module that it names for its data or its
networks only with `--allow-code`. No recipe can set either.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from rltemp.recipes.agent import Agent, Credit, Objective, PolicySpace
from rltemp.recipes.ranges import Length, Range

__all__ = [
    "Agent",
    "Credit",
    "Data",
    "Execution",
    "Network",
    "Objective",
    "Optimization",
    "PolicySpace",
    "Recipe",
    "References",
    "Teacher",
]


@dataclass(frozen=True)
class Data:
    """The images, their split, and their augmentation.

    Attributes:
        name: a source of `rltemp.tasks.list_sources()`, such as "digits" (bundled), "cifar100" (torchvision's files, or
            a tree of images), or "folder" (a tree of images: train/<class>/*, test/<class>/*); a source that the
            program registered (`rltemp.tasks.register_source`); or MODULE:CLASS, a source on the Python path, which
            needs `--allow-code`.
        path: folder of the data; unused by "digits".
        download: let torchvision download CIFAR-100 into `path` if it is missing; needs `--allow-download`.
        train: number of training images, >= 1; all policies train on the same ones.
        validation: number of held-out images of the training data, >= 1: the probe of the reward, and the data for
            every choice among results.
        split_seed: seed of the random split, >= 0.
        image_size: average-pool images to this height and width, in pixels; null keeps their size.
        shift: augmentation by shifts of up to this many pixels; 0 for none.
        noise: standard deviation of the Gaussian noise added to training images, in the unit of the network's input.
        flip: augmentation by horizontal flips.
        in_memory: keep all images decoded, at one size. If false, for "folder" alone, training images stay on disk and
            may be of any size: each is decoded when it is needed, cropped at random to 8 to 100 % of the area, and
            resized to `image_size`. Validation and test images, their center crops, are in memory in any case.
        workers: processes that decode images on disk, per student.
        views: fixed augmented views of each training image, >= 1, for which the teacher's logits are computed once;
            null augments anew every time. Without random augmentation there is one view.
        label_noise: share of training labels replaced by random ones, in [0, 1].
        junk: share of the students' training images replaced by blends of two of them that keep the label of one, in
            [0, 1]; the teacher trains on the images as they were. Needs images in memory.
        pool: which images of the source may be used, so that policies are never judged on what they were made from:
            "all"; "agents", a third, to train them on; or "arena", the other two thirds. A source without test images
            of its own gives a quarter first, as test images of both pools. Of a text, "agents" is the first half and
            "arena" the second. No seed changes the pools.
        context: characters of a window, for sources of texts, of which `train` and `validation` count windows; each
            character is an instance. Null for all other sources.
    """

    name: str = "digits"
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
    junk: Annotated[float, Range(0, 1)] = 0.0
    pool: Literal["all", "arena", "agents"] = "all"
    context: Annotated[int, Range(1, 4096)] | None = None


@dataclass(frozen=True)
class Network:
    """A network by its registered name, and the options of its builder.

    A network whose architecture or weights are downloaded, such as "timm:hf-hub:...", needs `--allow-download`.

    Attributes:
        name: one of `list_networks()`, registered ones among them; or MODULE:NAME, which needs `--allow-code`.
        options: keyword arguments of the network.
    """

    name: str = "mlp"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimization:
    """How a network is trained.

    Attributes:
        epochs: passes over the training images, >= 1.
        batch_size: instances per update, >= 1, of a text windows; the last incomplete batch of an epoch is left out.
        lr: initial learning rate of SGD, > 0.
        momentum: momentum of SGD, in [0, 1).
        nesterov: whether the momentum is Nesterov's.
        weight_decay: factor on the L2 penalty's gradient, >= 0.
        schedule: "cosine" to zero over the run, or "multistep": x 0.1 at each milestone.
        milestones: shares of the run, in (0, 1], at which "multistep" lowers the rate.
        ce_weight: weight of the cross-entropy with the labels, >= 0.
        kd_weight: weight of the distillation loss, >= 0.
        objective: distillation loss, "kd" or "dkd".
        features: objective on features beside the loss, "none" or one of `rltemp.objectives.features`: "pkt", "sp",
            "vid", "crd", "srrl". It compares the classifiers' inputs, which all networks have. Like the probe's term,
            it is no part of the loss that agents are trained with.
        features_weight: factor on the weight that the objective has in its paper, >= 0.
        negatives: images that "crd" contrasts each instance with, >= 1.
        probe_weight: weight of the cross-entropy on clean training images, >= 0: `policy.probe_size` of them, drawn
            anew every `policy.every` updates, as an aligned policy's probe is. Agents are not trained with it.
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
    features: Literal["none", "pkt", "sp", "vid", "crd", "srrl"] = "none"
    features_weight: Annotated[float, Range(0)] = 1.0
    negatives: Annotated[int, Range(1)] = 16_384
    probe_weight: Annotated[float, Range(0)] = 0.0


@dataclass(frozen=True)
class Teacher:
    """The network that is distilled: the mean logits of an ensemble.

    Attributes:
        network: architecture of each member.
        members: number of networks in the ensemble, >= 1.
        train: number of training images, the students' among them and none of validation or test; null takes the
            students' images alone.
        without: share of the classes, the last ones, of which the teacher sees no image in training, in [0, 1), rounded
            to a whole number of them; images of these classes are left out of the `train` images.
        shift: augmentation by shifts while the teacher is trained, in pixels; null takes `data.shift`.
        flip: augmentation by flips while the teacher is trained; null takes `data.flip`.
        noise: standard deviation of the noise while the teacher is trained; null takes `data.noise`.
        epochs: passes over the training images; 0 leaves the initial weights.
        batch_size: instances per update, >= 1.
        lr: initial learning rate of SGD, > 0 (momentum 0.9, Nesterov, cosine).
        weight_decay: factor on the L2 penalty's gradient, >= 0.
        seed: of the teacher's initialization, order, and augmentation, >= 0.
        checkpoint: file of weights to load instead of training: .safetensors, or a checkpoint in the format of CRD.
        source: another source whose instances the teacher trains on instead of the students', such as another text; of
            the same classes and shape. Null for the students'.
        path: `data.path` of that source.
    """

    network: Network = field(default_factory=lambda: Network("mlp", {"hidden": [256, 256]}))
    members: Annotated[int, Range(1)] = 5
    train: Annotated[int, Range(1)] | None = None
    without: Annotated[float, Range(0, below=1)] = 0.0
    shift: Annotated[int, Range(0, 4096)] | None = None
    flip: bool | None = None
    noise: Annotated[float, Range(0)] | None = None
    epochs: Annotated[int, Range(0)] = 60
    batch_size: Annotated[int, Range(1)] = 32
    lr: Annotated[float, Range(above=0)] = 0.05
    weight_decay: Annotated[float, Range(0)] = 0.0005
    seed: Annotated[int, Range(0)] = 0
    checkpoint: str | None = None
    source: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Execution:
    """Where and how networks run; another choice gives the same experiment up to rounding errors.

    Attributes:
        device: "cpu", "cuda", or "auto": a GPU if there is one.
        precision: what convolutions are computed in; parameters, logits, and losses are float32 in any case. "auto" is
            bfloat16 for networks that convolve where the device has units for it, and float32 elsewhere; a run's own
            configuration says which it was.
        channels_last: use PyTorch's channels-last memory format, with which convolutions are faster on most devices.
        compile: compile students and teacher. It pays on GPUs, where kernels of small networks are slow to launch.
            Where nothing can be compiled, they run as they are, with a warning.
        side_by_side: how the students of a population run: "stacked" as one network of batched products, in a "loop"
            one after the other, or "auto": as their network suits a CPU. Which is faster on a GPU,
            `rltemp.experiments.studies.gpu` measures.
    """

    device: Literal["auto", "cpu", "cuda"] = "cpu"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    side_by_side: Literal["auto", "stacked", "loop"] = "auto"


@dataclass(frozen=True)
class References:
    """What policies are compared with, as `rltemp tune` found it.

    Attributes:
        policies: as `rltemp evaluate --policy` takes them; empty for the usual grid.
        runs: student runs that finding each of them took, >= 0.
    """

    policies: Annotated[tuple[str, ...], Length(64)] = ()
    runs: Annotated[int, Range(0)] = 0


@dataclass(frozen=True)
class Recipe:
    """The complete settings of an experiment.

    Attributes:
        data: the images.
        teacher: the network that is distilled.
        student: the network that is trained by distillation.
        optimization: how students are trained.
        policy: what a policy observes, and what it may choose.
        agent: how the agent learns a policy.
        execution: where and how networks run.
        references: what policies are compared with.
    """

    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    student: Network = field(default_factory=lambda: Network("mlp", {"hidden": [16]}))
    optimization: Optimization = field(default_factory=Optimization)
    policy: PolicySpace = field(default_factory=PolicySpace)
    agent: Agent = field(default_factory=Agent)
    execution: Execution = field(default_factory=Execution)
    references: References = field(default_factory=References)

    @property
    def instances(self) -> int:
        """Number of instances B of a student's minibatch: images, or the characters of all its windows."""
        return self.optimization.batch_size * (self.data.context or 1)
