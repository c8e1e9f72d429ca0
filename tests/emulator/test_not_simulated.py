"""What a simulated desktop does not do is refused, and never answered wrongly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from vcloud import InvalidRequestError, ServerError, VCloud
from vcloud.emulator import Clock, Emulator, Ran
from vcloud.emulator.desktops import Desktop
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.providers.desktops import DesktopRef


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(1_770_000_000)) as emulator:
        yield emulator


@pytest.fixture
def seeded(emulator: Emulator) -> Desktop:
    return emulator.desktops.add_desktop()


@pytest.fixture
async def desktop(emulator: Emulator, seeded: Desktop) -> AsyncIterator[DesktopRef]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud.desktops.ref(seeded.id)


X = "DISPLAY=:99 xdotool"

REFUSED = {
    # -- programs and their options
    "python3 -c 'print(1)'": "the command 'python3'",
    "/bin/sh -c true": "the command '/bin/sh'",
    "echo a | grep a": "the command 'grep'",
    "if true; then echo a; fi": "if, a word of the shell's grammar",
    "true || for": "for, a word",
    "ls -l": "the option -l of ls",
    "ls -a": "the option -a of ls",
    "cat -n welcome.txt": "the option -n of cat",
    "cat -": "the option - of cat",
    "rm -i welcome.txt": "the option -i of rm",
    "rm -rf ~": "the removal of /home/user",
    "base64 -i welcome.txt": "the option -i of base64",
    "echo -e 'a\\n'": "the option -e of echo",
    "date -d yesterday": "these arguments of date",
    "date +%N": "these arguments of date",
    "uname -r": "these arguments of uname",
    "export": "export without NAME=VALUE",
    "sleep infinity": "an interval of sleep",
    # -- files that a real desktop has
    "cat /etc/passwd": "/etc/passwd, a part of the system",
    "ls /": "/, a part of the system",
    "ls /usr/bin": "/usr/bin, a part of the system",
    "touch /etc/x": "/etc/x, a part of the system",
    "cat ../../etc/passwd": "/etc/passwd, a part of the system",
    "echo /e*/passwd": "a pattern for names in the root directory",
    # -- the shell
    "echo hi > /tmp/x": "the operator > of the shell",
    "cat < welcome.txt": "the operator < of the shell",
    "sleep 1 &": "the operator & of the shell",
    "echo $(id)": "an expansion of the shell",
    'echo "$(id)"': "an expansion of the shell",
    'echo "`id`"': "the output of a command as a word",
    "echo `id`": "the operator ` of the shell",
    "echo $?": "an expansion of the shell",
    "echo ${HOME:-x}": "an expansion of the shell",
    "echo $'a\\n'": "an expansion of the shell",
    "echo {a,b}": "the expansion of braces",
    "echo $PATH": "the variable PATH",
    "A='a b'; echo $A": "a variable without quotes",
    "echo ~root": "the home directory of another user",
    "A=b | cat": "a change of the shell in a part of a pipeline",
    "echo a\n| cat": "lines of commands, of which one has an error",
    # -- the screen
    f"{X} search --name x": "xdotool search",
    f"{X} getactivewindow": "xdotool getactivewindow",
    f"{X} key --window 1 a": "the option --window of xdotool key",
    f"{X} key --repeat 3 a": "the option --repeat of xdotool key",
    f"{X} mousemove --polar 1 2": "the option --polar of xdotool mousemove",
    f"{X} mousemove restore": "xdotool mousemove restore",
    f"{X} type --args 1 a": "the option --args of xdotool type",
    f"{X} key Cyrillic_a": "the key Cyrillic_a",
    f"{X} key ccaron": "the key ccaron",
    f"{X} key 0x6c1": "the key 0x6c1",
    f"{X} key 200": "the key 200",
    f"{X} key Multi_key": "the key Multi_key",
    f"{X} key Caps_Lock a": "text that is entered while Caps_Lock",
    "DISPLAY=:99 scrot picture.png": "scrot other than",
    "DISPLAY=:99 scrot -d 5 a.jpg": "scrot other than",
    "DISPLAY=:99 scrot": "scrot other than",
}


@pytest.mark.parametrize("command", REFUSED)
async def test_what_is_not_simulated_is_refused_with_its_reason_in_the_log(
    desktop: DesktopRef, seeded: Desktop, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    files = dict(seeded.simulated.files)
    with pytest.raises(InvalidRequestError) as caught:
        await desktop.bash(f"touch made; {X} key a mousedown 1 keydown b\n{command}")
    assert caught.value.status == 422
    assert not caught.value.outcome_unknown
    assert "answer commands with emulator.desktops.on_bash, or use" in str(caught.value)
    (line,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "bash-action: not simulated: " in line
    if "lines of commands" not in line and "the output of" not in line:
        assert REFUSED[command] in line
    # Nothing of it was done.
    screen = seeded.simulated
    assert (screen.events, screen.typed, screen.buttons, screen.keys) == ([], "", set(), set())
    assert screen.files == files


async def test_an_action_is_refused_like_a_command(desktop: DesktopRef, seeded: Desktop) -> None:
    """Keys that the client passes on, but the simulated keyboard has not."""
    with pytest.raises(InvalidRequestError, match="does not simulate this"):
        await desktop.press("Multi_key")
    assert not seeded.events


HINT = "Run 'xdotool help' if you want a command list"
ANSWERED = {
    "cd docs && pwd": "/home/user/docs",
    "cd docs; ls": "a.txt\nb.txt",
    "cd nowhere || echo no": "no",
    "ls docs/*.txt": "docs/a.txt\ndocs/b.txt",
    "echo docs/*.md": "docs/*.md",
    "echo *": "docs welcome.txt",
    "echo ~ ~/x '~'": "/home/user /home/user/x ~",
    "cat docs": "cat: docs: Is a directory",
    "touch new && ls": "docs\nnew\nwelcome.txt",
    "rm -r docs && ls": "welcome.txt",
    "rm -f nofile; echo $HOME": "/home/user",
    "base64 -w0 welcome.txt | base64 -d": "Welcome to your desktop.",
    "date +%Y": "2026",
    "sleep 1m; echo later": "bash",
    "cat docs/a.txt docs/b.txt": "ab",
    f"{X} nosuch": f"xdotool: Unknown command: nosuch\n{HINT}",
    "DISPLAY=:99.0 xdotool mousemove 1 2 && echo moved": "moved",
    "DISPLAY=:99 scrot a.jpg; cat a.jpg | base64 -w4": None,
}


async def test_what_is_simulated_is_answered_as_bash_does(
    desktop: DesktopRef, seeded: Desktop
) -> None:
    for command, output in ANSWERED.items():
        files = seeded.simulated.files
        files |= {"/home/user/docs/a.txt": "a", "/home/user/docs/b.txt": "b"}
        if output == "bash":
            # Beyond the 30 seconds of the gateway.
            with pytest.raises(ServerError, match="504"):
                await desktop.bash(command)
        elif output is None:
            assert (await desktop.bash(command)).startswith("/9j/\n")
        else:
            assert await desktop.bash(command) == output, command
        files.pop("/home/user/new", None)


async def test_binary_output_is_text_as_the_service_decodes_it(desktop: DesktopRef) -> None:
    output = await desktop.bash("DISPLAY=:99 scrot a.jpg; cat a.jpg")
    assert output.startswith("\N{REPLACEMENT CHARACTER}")


# -- on_bash ---------------------------------------------------------------------------------------


async def test_a_function_answers_commands(emulator: Emulator, desktop: DesktopRef) -> None:
    asked: list[str] = []

    def count(command: str) -> str | None:
        asked.append(command)
        return "42\n" if command.startswith("python3") else None

    assert emulator.desktops.on_bash(count) is count
    assert await desktop.bash("python3 count.py") == "42"
    assert await desktop.bash("echo 'of the simulated shell'") == "of the simulated shell"
    with pytest.raises(InvalidRequestError):
        await desktop.bash("make")

    @emulator.desktops.on_bash
    def build(command: str) -> Ran | None:
        return Ran(stderr="make: no rule\n", code=2) if command == "make" else None

    assert await desktop.bash("make") == "make: no rule"
    assert await desktop.bash("python3 count.py") == "42", "the one before is asked as well"
    assert asked[:3] == ["python3 count.py", "echo 'of the simulated shell'", "make"]


async def test_a_function_that_answers_everything_leaves_the_screen_alone(
    emulator: Emulator, desktop: DesktopRef, seeded: Desktop
) -> None:
    emulator.desktops.on_bash(lambda _: "")
    await desktop.key_down("shift")
    assert seeded.simulated.keys == {"shift"}
    await desktop.key_up("shift")
    assert not seeded.simulated.keys
    assert await desktop.bash("ls") == ""
    assert [event.data["command"] for event in seeded.events if event.name == "bash"][-1] == "ls"


async def test_a_command_takes_the_time_that_the_function_says(
    emulator: Emulator, desktop: DesktopRef
) -> None:
    emulator.desktops.on_bash(lambda command: Ran(seconds=31) if command == "make" else None)
    with pytest.raises(ServerError, match="504") as caught:
        await desktop.bash("make")
    assert caught.value.outcome_unknown


async def test_a_function_that_fails_or_is_no_plain_one_is_named(
    emulator: Emulator, desktop: DesktopRef, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.desktops.on_bash(lambda _: str(1 // 0))
    with pytest.raises(ServerError, match="on_bash raised ZeroDivisionError"):
        await desktop.bash("ls")
    assert "ZeroDivisionError" in caplog.text

    async def later(command: str) -> str:
        return command

    emulator.desktops.on_bash(later)  # type: ignore[arg-type]
    with pytest.raises(ServerError, match="on_bash raised TypeError"):
        await desktop.bash("ls")
    assert "must be a plain one that returns a str, a Ran or None, not coroutine" in caplog.text


def test_what_is_no_function_is_refused_at_once(emulator: Emulator) -> None:
    with pytest.raises(TypeError, match="takes a function of the command, not 'done'"):
        emulator.desktops.on_bash("done")  # type: ignore[arg-type]


def test_real_desktops_run_their_commands_themselves() -> None:
    with pytest.raises(RuntimeError, match="for simulated desktops"):
        Emulator(backend="x11", allow_exec=True).desktops.on_bash(str)


# -- the text that was typed -----------------------------------------------------------------------


async def test_backspace_removes_what_was_typed(desktop: DesktopRef, seeded: Desktop) -> None:
    await desktop.press("BackSpace")
    await desktop.type("abc")
    await desktop.press("BackSpace")
    await desktop.press("End")
    await desktop.press("ctrl", "s")
    await desktop.type("d")
    assert seeded.simulated.typed == "abd"


@pytest.mark.parametrize("keys", [["Left"], ["ctrl", "a"], ["ctrl", "v"], ["Home"], ["ctrl", "z"]])
async def test_keys_that_move_the_cursor_make_the_text_unknown(
    desktop: DesktopRef, seeded: Desktop, keys: list[str]
) -> None:
    await desktop.press(*keys)
    await desktop.type("abc")
    assert seeded.simulated.typed == "abc"
    await desktop.press(*keys)
    with pytest.raises(NotSimulatedError, match="read the events instead"):
        _ = seeded.simulated.typed
