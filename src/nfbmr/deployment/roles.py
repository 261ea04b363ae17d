"""What each good picture is for when a model is learnt again, as the fit and what came after say.

Both models are to have learnt from the same pictures and to be calibrated with the same ones: what
somebody took out of the threshold, or calibrated with since, is that of the other model, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from nfbmr.data.survey import Survey, Surveyed
from nfbmr.errors import TrainingError
from nfbmr.learning.plan import InForce, Plan
from nfbmr.model.bundle import Bundle
from nfbmr.model.exports import Precision
from nfbmr.scoring.calibrate import LEAST_HELD_OUT
from nfbmr.scoring.judges import LEAST_UNSEEN
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_SAME = 0.9  # of the fit's pictures have to be there, and of those that calibrate


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Good pictures that a model knows; their numbers, ascending, say what each is for."""

    good: Survey
    """The known ones."""
    trains: tuple[int, ...]
    """What trained it."""
    held_out: tuple[int, ...]
    """What its fit held out; Gaussians may have learnt from it."""
    new: tuple[int, ...]
    """Not of the fit: they calibrate the model now, and nothing was learnt from them."""
    calibrating: tuple[int, ...] | None
    """What calibrates it now; None where it does not say, as models of older versions."""

    @property
    def compared(self) -> tuple[int, ...]:
        """What two models may be compared on: all that trained none of them.

        Less what somebody took out of the threshold, who did not think it good. Where others
        calibrate in place of the fit's, nobody said so of these.
        """
        now = set(self.held_out + self.new if self.calibrating is None else self.calibrating)
        replaced = now.isdisjoint({*self.trains, *self.held_out})
        kept = self.held_out if replaced else tuple(n for n in self.held_out if n in now)
        return tuple(sorted(kept + self.new))


def roles_of(bundle: Bundle, good: Survey) -> Roles:
    """Finds the pictures that a model knows among good ones, and what each is for.

    What trained it trains again. All others that it knows are held out, and those that are not of
    its fit calibrate alone: from what is learnt from them single precision was never taught.
    """
    facts, now = bundle.facts, bundle.calibration
    in_force = set(now.pictures)
    trained = {*facts.trained_on, *facts.trained_pixels}
    held_out = {*facts.held_out, *facts.held_out_pixels}
    if now.learnt:  # from each picture that calibrates
        held_out |= in_force
    known = [one for one in good.pictures if _hashes(one) & (trained | held_out | in_force)]
    groups: dict[str, list[int]] = {"trains": [], "held_out": [], "new": []}
    for number, one in enumerate(known):
        own = _hashes(one)
        group = "trains" if own & trained else "held_out" if own & held_out else "new"
        groups[group].append(number)
    learnt_from = set(groups["trains"])
    if facts.everyone(bundle.settings):
        learnt_from.update(groups["held_out"])
    calibrating = [
        number
        for number, one in enumerate(known)
        # What was learnt from calibrates only where each is judged without itself.
        if one.pixel_hash in in_force and (now.learnt or number not in learnt_from)
    ]
    return Roles(
        good=replace(good, pictures=tuple(known)),
        calibrating=tuple(calibrating) if in_force else None,
        **{name: tuple(numbers) for name, numbers in groups.items()},
    )


def plan_again(bundle: Bundle, good: Survey, precision: Precision) -> tuple[Roles, Plan]:
    """Says which pictures are looked at, how, and what they are for: as now in force.

    Raises:
        TrainingError: too few are there of those of the fit, or of those that calibrate.
    """
    facts, roles = bundle.facts, roles_of(bundle, good)
    _refuse_others(bundle, good, roles, precision)
    _check_calibrating(bundle, good, roles, precision)
    if strange := len(good.pictures) - len(roles.good.pictures):
        are = counted(strange, "picture is", "pictures are")
        _log.warning("%s unknown to the model and left out", are)
    now = bundle.calibration
    plan = Plan(
        size=facts.size,
        tiling=bundle.tiling,
        chosen=False,
        n_train=len(roles.trains),
        n_held_out=len(roles.held_out),
        held_out=roles.held_out,
        everyone=facts.everyone(bundle.settings),
        rate=now.false_alarm_rate,
        ignore=bundle.ignore,
        in_force=InForce(
            new=roles.new,
            calibrating=roles.calibrating,
            ignored=now.ignored,
            chosen=now.chosen,
        ),
    )
    return roles, plan


def _refuse_others(bundle: Bundle, good: Survey, roles: Roles, precision: Precision) -> None:
    """Checks that these are the pictures of the fit.

    Raises:
        TrainingError: too few of them are.
    """
    facts = bundle.facts
    of_fit, may = len(facts.trained_on) + len(facts.held_out), len(roles.held_out + roles.new)
    fit = {*facts.trained_on, *facts.held_out, *facts.trained_pixels, *facts.held_out_pixels}
    there = sum(bool(_hashes(one) & fit) for one in roles.good.pictures)
    if there < _SAME * of_fit or min(may, len(roles.trains)) < LEAST_HELD_OUT:
        raise TrainingError(
            f"{there} of the {of_fit} good pictures that the model learnt from are among the "
            f"{len(good.pictures)} given, and {may} that may calibrate; {precision} is "
            "learnt again from them, so give them all, or fit anew"
        )


def _check_calibrating(bundle: Bundle, good: Survey, roles: Roles, precision: Precision) -> None:
    """Checks that what calibrates the model now can calibrate what is learnt again.

    Raises:
        TrainingError: too few of these pictures are there.
    """
    of = len(bundle.calibration.pictures)
    if roles.calibrating is None:
        _log.warning(
            "This model is of an older version and does not say which pictures calibrate it: "
            "%s is calibrated with those of the fit",
            precision,
        )
        return
    there = len(roles.calibrating)
    if there < max(_SAME * of, LEAST_HELD_OUT):
        raise TrainingError(
            f"{there} of the {of} good pictures that calibrate the model now are among the "
            f"{len(good.pictures)} given; {precision} is calibrated with the same ones: give them "
            "and those of the fit together, in one folder or table, or first calibrate the model "
            "with others that you have (nfbmr calibrate)"
        )
    unseen = len({*roles.held_out} & {*roles.calibrating})
    if bundle.calibration.learnt and unseen < LEAST_UNSEEN:
        raise TrainingError(
            f"of the pictures that the fit held out {unseen} still "
            f"{'calibrates' if unseen == 1 else 'calibrate'} the model; {precision} needs "
            f"{LEAST_UNSEEN}, to know how training changes what it saw. Calibrate the model with "
            "good pictures that it has not seen (nfbmr calibrate), or fit anew without those that "
            "you took out"
        )
    if there < of:
        _log.warning(
            "%d of the %d good pictures that calibrate the model now are not among those given; "
            "%s is calibrated without them",
            of - there,
            of,
            precision,
        )


def _hashes(picture: Surveyed) -> set[str]:
    return {picture.fingerprint, picture.pixel_hash}
