"""One picture with its label, and the pictures of a product; what was odd about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from nfbmr.data.words import meaning
from nfbmr.errors import LayoutError
from nfbmr.system.files import escaped

Layout: TypeAlias = Literal["folder", "mvtec", "dagm", "table"]
Split: TypeAlias = Literal["train", "test"]
Notes: TypeAlias = defaultdict[str, list[Path]]
"""What is wrong -> with which files."""

TITLES: dict[Layout, str] = {
    "folder": "folder",
    "mvtec": "MVTec AD category",
    "dagm": "DAGM 2007 class",
    "table": "table",
}
LAYOUTS = (
    "expected a folder of good pictures, a folder 'good' beside folders of defects, an MVTec AD "
    "category (train/good), a DAGM 2007 class (Train, Test) or a table (CSV, TSV, Parquet)"
)
NAMED = 5  # files or folders that a message names
_SHOWN = 8  # names with their numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One picture and what is known of it."""

    path: Path
    split: Split
    defect: str
    """"good", else the type of defect such as "crack"; "defect" where the type is unknown."""
    mask: Path | None = None
    """Where the mask of the defect is; None for good pictures and where there is none."""
    more_masks: tuple[Path, ...] = ()
    """Further masks of the same picture: defective is what any of them marks."""
    is_labelled: bool = True
    """Whether a name, a mask or a table says so; False where all was given as good."""

    @property
    def masks(self) -> tuple[Path, ...]:
        """All masks of the defect."""
        return () if self.mask is None else (self.mask, *self.more_masks)

    @property
    def is_defect(self) -> bool:
        """Whether the part is defective."""
        return self.defect != "good"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """The pictures of one product: all of `train` are good."""

    root: Path
    layout: Layout
    samples: tuple[Sample, ...]
    """First those to learn from, then those of the test; each sorted by path."""
    warnings: tuple[str, ...]
    """One line for each kind of trouble: how many files, what was done, up to five names."""
    labels: str = ""
    """Of a table: the labels found, and what they were taken for."""

    @property
    def train_good(self) -> tuple[Sample, ...]:
        """The good pictures to learn from; empty only for a table whose rows are all for test."""
        return tuple(s for s in self.samples if s.split == "train" and not s.is_defect)

    @property
    def test(self) -> tuple[Sample, ...]:
        """The pictures of the test, good and defective."""
        return tuple(s for s in self.samples if s.split == "test")

    @property
    def name(self) -> str:
        """What the product is called: the last part of the root's path that names it.

        A folder called `good` or `train` says nothing of the product, the one above it does. Of a
        table it is the file's name, without its suffix. Bytes that are no UTF-8 are escaped.
        """
        root = self.root.resolve()
        if self.layout == "table":
            return escaped(root.stem)
        names = (folder.name for folder in (root, *root.parents))
        return escaped(next((name for name in names if not _is_word(name)), "") or root.name)

    def to_learn_from(self) -> tuple[Sample, ...]:
        """Returns `train_good`, of which there is at least one.

        Raises:
            LayoutError: there is none; the message says what was found instead.
        """
        if not self.train_good:
            raise LayoutError(
                f"{self.root}: found no good pictures to learn from ({self.describe()}); expected "
                "rows whose label is good, ok, pass or 0 and whose split is not test; "
                "change the labels or the split, or give a folder of good pictures"
            )
        return self.train_good

    def describe(self) -> str:
        """Says in one line, for the screen, what was found, and from where."""
        defective = [s for s in self.test if s.is_defect]
        root = self.root.resolve()
        name = root.stem if self.layout == "table" else root.name
        line = f"{TITLES[self.layout]} '{name}': {len(self.train_good)} good to learn from"
        line += self._folders()
        line += f"; {self._of_test(len(defective))}"
        if defective:
            masks = sum(s.mask is not None for s in defective)
            line += f" ({self._types(defective)}{masks or 'none'} with masks)"
        return f"{line}; {self.labels}" if self.labels else line

    def _of_test(self, defective: int) -> str:
        """Says what is known of the test: `test 5 good, 3 defective, 2 without a label`."""
        if not self.test:
            return "no test pictures"
        bare = sum(not sample.is_labelled for sample in self.test)
        known = f"{len(self.test) - defective - bare} good, {defective} defective"
        said = [known] if bare < len(self.test) else []
        return f"test {', '.join([*said, f'{bare} without a label'] if bare else said)}"

    def _folders(self) -> str:
        """Names the folders of a tree that is read by its words: `(from Normal 20)`.

        Of an MVTec AD category, if there are some in `train/good`.
        """
        if self.layout not in {"folder", "mvtec"}:
            return ""
        found = Counter(s.path.parent.relative_to(self.root).as_posix() for s in self.train_good)
        named = {"the folder itself" if name == "." else name: n for name, n in found.items()}
        usual = {"."} if self.layout == "folder" else {n for n in found if n.count("/") < 2}
        return f" (from {counted(named)})" if found.keys() - usual else ""

    def _types(self, defective: Iterable[Sample]) -> str:
        """Names what each folder of a tree was taken for: `crack 5, dent 3; `."""
        if self.layout != "folder":
            return ""
        return f"types of defect: {counted(Counter(s.defect for s in defective))}; "


def _is_word(name: str) -> bool:
    """Whether a folder's name says good, or a split, and nothing else."""
    said = meaning(name)
    is_split = said.split is not None and not said.says
    return not said.unknown and (is_split or (said.only and said.says == {"good"}))


def counted(counts: Mapping[str, int]) -> str:
    """Returns names with their numbers, `Normal 20, Late 3`, in the names' order."""
    parts = [f"{name} {number}" for name, number in sorted(counts.items())]
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more


def lines(notes: Notes, root: Path) -> tuple[str, ...]:
    """Returns a line for each kind of trouble, naming up to five files relative to `root`."""
    base = root.parent if root.is_file() else root
    found = []
    for trouble, paths in notes.items():
        shown = (p.relative_to(base) if p.is_relative_to(base) else p for p in paths[:NAMED])
        names = ", ".join(p.as_posix() for p in shown)
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        if paths:
            found.append(f"{trouble}: {len(paths)} ({names}{more})")
    return tuple(found)
