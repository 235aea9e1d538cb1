"""What a comparison shows, in English."""

from __future__ import annotations

from rltemp.experiments.evaluation.comparison import Comparison, Row, Verdict
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.statistics import Difference

__all__ = ["about_teacher", "about_trouble", "headline", "note", "points", "signed"]


def headline(comparison: Comparison) -> str:
    """What a comparison comes to, in a sentence or two per learned policy."""
    evaluation, static = comparison.evaluation, comparison.best_static
    trained = [row for row in comparison.rows if row.family == "trained"]
    if not trained:
        return "No learned policy was evaluated."
    if static is None:
        trouble = "came to its end without diverging" if evaluation.family("static") else "was evaluated"
        return f"No static temperature {trouble}, so that nothing can be said of the learned policy."
    sentences = []
    for row in trained:
        subject = "The learned policy" if len(trained) == 1 else f"The learned policy “{row.label}”"
        if len(row.members) > 1:
            subject += f" (mean of {len(row.members)} trainings)"
        if row.diverged:
            sentences.append(f"{subject} diverged: {row.diverged} of {row.students} students came to nothing.")
        for kind, reference, difference, verdict in (
            ("static temperature", static, row.versus_static, row.verdict),
            ("schedule", comparison.best_schedule, row.versus_schedule, row.schedule_verdict),
        ):
            if reference is not None and difference is not None:
                chosen = _among(len(evaluation.family(reference.family)))
                best = f"the best {kind} ({reference.label}, {chosen})"
                sentences.append(_sentence(subject, best, difference, verdict))
                subject = "It"
    return " ".join([*sentences, _about_tuning(comparison)])


def _about_tuning(comparison: Comparison) -> str:
    if comparison.tuning_runs:
        return f"Each reference was tuned on validation data with {comparison.tuning_runs} student runs."
    return "The references were not tuned on this task: `rltemp tune` tunes them."


def about_teacher(comparison: Comparison) -> str:
    """What the teacher reaches on the test images; nothing where it was not measured."""
    teacher = comparison.evaluation.teacher
    if teacher is None:
        return ""
    return (
        f"The teacher: accuracy {100 * teacher.accuracy:.2f} %, NLL {teacher.nll:.3f}, "
        f"ECE {100 * teacher.calibration_error:.1f} %."
    )


def about_trouble(row: Row, static: PolicyResult | None) -> str:
    """What happened to students that diverged or collapsed, when, and what to lower; nothing if all went well.

    Args:
        row: the policy.
        static: the best static temperature; a student collapses that has less than half of its accuracy there.
    """
    told = next((member.trouble for member in row.members if member.trouble), "")
    if row.diverged:
        told = told or "when is not known; lower optimization.lr, or ce_weight and kd_weight where they are large"
        fate = f"{row.diverged} of {row.students} students came to nothing, and the policy is compared with nothing"
        return f"{fate}. {_capital(told)}."
    lost = 0 if static is None else sum(int((one.accuracy < static.accuracy / 2).sum()) for one in row.members)
    if static is None or not lost:
        return f"{_capital(told)}. It recovered." if told else ""
    fate = f"{lost} of {row.students} students collapsed to less than half of their accuracy under {static.label}"
    return f"{fate}. {_course(row)}Lower its kd_weight, or optimization.lr."


def _course(row: Row) -> str:
    """How the temperature went, which is most of what is known of a collapse."""
    trace = row.members[0].trace
    if trace is None:
        return ""
    median = trace.quantiles[:, 2]
    start, end = f"{median[0]:.2g}", f"{median[-1]:.2g}"
    return f"Its median temperature {f'stayed at {start}' if start == end else f'went from {start} to {end}'}. "


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def note(comparison: Comparison) -> str:
    """How to read the numbers of a comparison."""
    evaluation = comparison.evaluation
    several = any(len(members) > 1 for members in evaluation.groups().values())
    crossed = " Where a method was trained several times, the interval covers its trainings as well." if several else ""
    return (
        f"Test accuracy after the last epoch. Intervals are {100 * comparison.confidence:g} % t intervals over "
        f"{len(evaluation.seeds)} students, paired: under every policy a student has the same initial weights, batches "
        f"and augmentation.{crossed} Verdicts are against the best static temperature, with Holm's correction. The "
        "intervals speak of new students on this data with this teacher, not of other data."
    )


def points(difference: Difference) -> str:
    """An accuracy difference in percentage points with its interval, as text: "+2.10 points [+1.50, +2.70]"."""
    return f"{signed(difference.mean)} points [{signed(difference.low)}, {signed(difference.high)}]"


def above(regret: Difference) -> str:
    """How far a method is above the reference that it has this regret to, in points: "+2.1 [+1.5, +2.7]"."""
    return gained(-regret)


def gained(difference: Difference) -> str:
    """An accuracy difference in points, shorter than `points` says it: "+2.1 [+1.5, +2.7]"."""
    return f"{signed(difference.mean, 1)} [{signed(difference.low, 1)}, {signed(difference.high, 1)}]"


def signed(share: float, decimals: int = 2) -> str:
    """A share in percent with its sign: "+2.10", "−0.30", "0.00"."""
    rounded = round(100 * share, decimals)
    return f"{0:.{decimals}f}" if rounded == 0 else f"{rounded:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _among(count: int) -> str:
    return f"chosen among {count} on validation data" if count > 1 else "the only one evaluated"


def _sentence(subject: str, reference: str, difference: Difference, verdict: Verdict) -> str:
    gap = points(difference)
    if verdict == "better":
        return f"{subject} beats {reference} by {gap}."
    if verdict == "worse":
        return f"{subject} does worse than {reference}: {gap}."
    inside = difference.low <= 0 <= difference.high
    reason = "the interval contains 0" if inside else "not clear once corrected for the number of learned policies"
    return f"{subject} does not clearly beat {reference}: {gap}, {reason}."
