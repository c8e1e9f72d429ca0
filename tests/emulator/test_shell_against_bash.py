"""The simulated shell against the machine's own bash: it does the same, or refuses."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcloud.emulator.desktops.bash import Shell
from vcloud.emulator.desktops.files import HOME
from vcloud.emulator.desktops.refusal import NotSimulatedError

FILES = {"welcome.txt": "Welcome.\n", "docs/a b.txt": "spaces\n", "docs/.hidden": "", "wel": "x"}
#: Commands that do nothing outside of the directory that they run in.
_NAMES = "echo cat ls touch rm cd true false base64 export pwd A=x A= if ! [ test nosuch"
_WORDS = r"""a $A ${A} '$A' "$A" * w* ? ~ \$A -n -e -x a=b A=1 #c welcome.txt nofile {a,b} $? docs/*
    [w]* [!w]* '' "" . - -- $ a$ "$" ! % ~x -1 -w0 -d -rf -f docs docs/x wel* */a* \* "*"
    $A$A x"$A"y ${A:-b} $UNSET > < 2>&1 ( ) { } if a\ b "a'b" 'a"b' x=~ ~/w* "~" \~ a\\ $1 "\$A" """
NAMES = _NAMES.split()
WORDS = (
    *("'b  c'", "$(echo x)", '"$(echo x)"', "`echo x`", "$'a b'", "'open", '"open'),
    *_WORDS.split(),
)
JOINTS = [" | ", "; ", " && ", " || ", " & ", "\n", " ;; ", "|", ";"]

COMMAND = st.builds(
    lambda name, words: " ".join([name, *words]),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(WORDS), max_size=3),
)
COMMANDS = st.builds(
    lambda first, rest: "".join([first, *(joint + command for joint, command in rest)]),
    COMMAND,
    st.lists(st.tuples(st.sampled_from(JOINTS), COMMAND), max_size=3),
)


def simulated(command: str) -> tuple[int, str, bool] | None:
    """The exit status, the output, and whether there are errors; None if it is refused."""
    files = {f"{HOME}/{name}": text for name, text in FILES.items()}
    shell = Shell(files, datetime.now(UTC), {}, {"HOME": HOME}, {"nosuch"})
    try:
        ran = shell.run(command)
    except NotSimulatedError:
        return None
    left = "".join(f"{name}={text};" for name, text in sorted(files.items()))
    return ran.code, f"{ran.stdout}\n{left}", bool(ran.stderr)


def real(command: str, folder: str) -> tuple[int, str, bool]:
    home = Path(folder)
    for name, text in FILES.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env={"HOME": folder, "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    left = "".join(
        f"{HOME}/{path.relative_to(home)}={path.read_text()};"
        for path in sorted(home.rglob("*"))
        if path.is_file()
    )
    output = f"{done.stdout.replace(folder, HOME)}\n{left}"
    return done.returncode, output, bool(done.stderr)


def compare(command: str) -> bool:
    """Whether the command was simulated."""
    expected = simulated(command)
    if expected is None:
        return False
    with TemporaryDirectory() as folder:
        assert real(command, folder) == expected, command
    return True


@settings(max_examples=300, deadline=None, database=None)
@given(COMMANDS)
def test_it_does_what_bash_does_or_refuses(command: str) -> None:
    compare(command)


#: What random commands found, or what is in daily use.
SIMULATED = r"""
cd docs && pwd && ls
cd nowhere || echo no
cat docs wel
ls wel nofile welcome.txt
echo docs/* */a* [!w]* wel?ome.txt nofi* "docs/*"
A="a b"; echo "$A" '$A' \$A
base64 -w0 welcome.txt | base64 -d
base64 -w 4 welcome.txt
base64 nofile
rm wel; rm wel; rm -f wel
rm docs
rm -r docs; ls
touch new docs/new nofolder/new; ls
cat wel welcome.txt | cat
date +%Y-%m-%d
sleep 0; sleep 0s 0.0m; sleep x
uname; pwd; true || echo a; false && echo b
echo a\
echo -- - -x
echo a$ "$" x"y"'z'
 | cat
echo a ||
echo ;; a
''
nosuch || echo $HOME
""".strip("\n").splitlines()
REFUSED = r"""
echo x=~
ls || if x
false && for
cd "$(echo docs
ls ''
[ `echo a` ]
echo ${A:-b}
echo {a,b}
export A
A=b | cat
ls docs wel nofile
""".strip("\n").splitlines()


@pytest.mark.parametrize("command", SIMULATED)
def test_it_does_what_bash_does(command: str) -> None:
    assert compare(command)


@pytest.mark.parametrize("command", REFUSED)
def test_it_refuses_what_it_cannot_do(command: str) -> None:
    assert not compare(command)
