"""``medsweep analyse TABLE``: the report of a table of scores that no sweep made."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from medsweep.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from medsweep.analysis.report.page import Format

SUFFIXES: Final = (".csv", ".tsv", ".parquet")
SEPARATORS: Final = (";", "\t", ",", "|")


def are_tables(paths: Sequence[Path]) -> bool:
    """Whether the paths are tables by their endings.

    Raises:
        UserError: some are and some are not.
    """
    tables = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if tables and len(tables) < len(paths):
        other = next(path for path in paths if path not in tables)
        raise UserError(f"{tables[0]} is a table and {other} is none; analyse them one after the other")
    return bool(tables)


def analyse_tables(
    paths: Sequence[Path], folder: Path | None, formats: "Sequence[Format]", control: str | None, **settings: Any
) -> int:
    """Write the report of each table into ``folder`` [results/NAME], of several into folders of their names there."""
    from medsweep.analysis.report.page import write_report
    from medsweep.analysis.study.analyse import analyse_table
    from medsweep.commands import views
    from medsweep.study.made_report import verdicts_of

    names = [path.stem for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two tables are called {twice[0]!r}; give each a name of its own")
    for path in paths:
        table = read_table(path)
        if control is None:
            arms = ", ".join(map(str, table["arm"].unique()[:8])) if "arm" in table else "its column 'arm'"
            raise UserError(f"{path}: --control NAME says which arm the others are held against; one of {arms}")
        given = {name: value for name, value in settings.items() if value is not None}
        try:
            analysis = analyse_table(table, control=control, **given)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        own = folder if folder is not None and len(paths) == 1 else (folder or Path("results")) / path.stem
        views.print_report(verdicts_of(analysis), write_report(own, analysis, formats=formats))
    return 0


def read_table(path: Path) -> "pd.DataFrame":
    """The table in a file.

    Raises:
        UserError: there is no such file, or it holds no table.
    """
    import pandas as pd

    if not path.is_file():
        beside = [str(other) for other in path.parent.glob("*") if other.suffix.lower() in SUFFIXES]
        raise UserError(f"there is no table {path}; {nearest(str(path), beside)}")
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        sep = "\t" if path.suffix.lower() == ".tsv" else ","
        table = pd.read_csv(path, sep=sep)
        # pandas calls a second column of one name by another
        names = pd.read_csv(path, sep=sep, header=None, nrows=1, dtype=str).iloc[0].dropna()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8; save it as CSV UTF-8") from None
    except (ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a table: {first}") from None
    if len(table.columns) == 1 and (other := next((mark for mark in SEPARATORS if mark in table.columns[0]), None)):
        raise UserError(
            f"{path}: its columns are separated by {other!r} and not by {sep!r}; save it with commas between "
            "columns and points in numbers"
        )
    if names.duplicated().any():
        raise UserError(f"{path}: two columns are called {names[names.duplicated()].iloc[0]!r}; keep one of them")
    return table
