"""The main figures of an evaluation, as lines for the screen."""

from __future__ import annotations

from typing import Any

from nfbmr.system.words import counted, percent


def headline(metrics: dict[str, Any]) -> list[str]:
    """Returns the main figures as lines for the screen."""

    def shown(key: str, factor: float = 100) -> str:
        value = metrics[key]
        return "-" if value is None else f"{factor * value:.1f}"

    if "n_unlabelled" in metrics:
        return [
            f"no label: of {counted(metrics['n_unlabelled'], 'picture')} "
            f"{metrics['n_called_defects']} called a defect, {metrics['n_to_look_at']} for a "
            "person; how many of them rightly, labels would say",
        ]
    lines = [
        f"image AUROC {shown('image_auroc')}   AP {shown('image_ap')}   "
        f"F1 {shown('f1')}   precision {shown('precision')}   recall {shown('recall')}   (%)",
    ]
    if metrics["false_alarm_interval"] is not None:
        low, high = metrics["false_alarm_interval"]
        lines.append(
            f"false alarms: asked {percent(metrics['false_alarm_rate_asked'])}, observed "
            f"{shown('false_alarm_rate_observed')} % of "
            f"{counted(metrics['n_good'], 'good picture')}"
            f" (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
        )
    if metrics["look_threshold"] < metrics["threshold"]:
        found = round((metrics["recall"] or 0) * metrics["n_defective"])
        more, good = metrics["n_defective_to_look_at"], metrics["n_good_to_look_at"]
        first = missed = ""
        if metrics["n_defective"]:
            first = f"{more} more defective and "
            missed = (
                f"; so {found + more} of {counted(metrics['n_defective'], 'defect')} "
                f"{'is' if found + more == 1 else 'are'} not passed as good"
            )
        lines.append(
            f"for a person to look at: {first}{counted(good, 'more good picture')} "
            f"(asked: {percent(metrics['look_rate_asked'])} of good ones, with false "
            f"alarms){missed}"
        )
    if metrics["aupro"] is not None:
        lines.append(f"pixel AUROC {shown('pixel_auroc')}   AUPRO {shown('aupro')}   (%)")
    lines.append(
        f"fit {metrics['fit_seconds']:.0f} s, one picture {metrics['inspect_ms']:.0f} ms "
        f"({metrics['runtime']})"
    )
    return lines
