"""Settings: what the environment may say, and what is said when it is wrong."""

import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.config import MIB, Secret, Settings, is_loopback, secret_key
from tecnobot_core.errors import ConfigurationError


def problems_of(**environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(environ)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0.0), ("0.2", 0.2), (" 1. ", 1.0), ("2", 2.0), ("2.0", 2.0), ("", None)]
)
def test_a_temperature_is_a_number_from_0_to_2_or_unset(text: str, value: float | None) -> None:
    assert Settings.from_env({"OPENAI_TEMPERATURE": text}).openai_temperature == value


@pytest.mark.parametrize("text", ["-0.1", "2.1", "0,2", "nan", "1e0", "cold", "٢", ".", "10"])
def test_any_other_temperature_is_told_with_what_is_wanted(text: str) -> None:
    assert problems_of(OPENAI_TEMPERATURE=text) == (
        f"OPENAI_TEMPERATURE is {text!r}; wanted is a number from 0 to 2, such as 0.2",
    )


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_the_environment_of_the_process_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CHAT_HISTORY", "7")
    assert Settings.from_env().max_chat_history == 7


def test_the_defaults_are_those_of_the_mission() -> None:
    settings = Settings()
    assert settings.environment == "production"
    assert settings.memory_limit_bytes == 512 * MIB
    assert (settings.memory_warning, settings.memory_critical) == (0.8, 0.9)
    assert settings.max_chat_history == 5
    assert (settings.rate_limit_max_messages, settings.rate_limit_cooldown_s) == (30, 60.0)
    assert (settings.db_pool_min, settings.db_pool_max, settings.db_pool_idle_s) == (2, 10, 30.0)
    assert (settings.reconnect_base_s, settings.reconnect_max_s, settings.reconnect_max_attempts) == (1.0, 60.0, None)
    assert (settings.heartbeat_s, settings.session_save_s) == (30.0, 60.0)
    assert settings.audio_max_bytes == 25 * MIB
    assert (settings.web_host, settings.web_port, settings.data_dir) == ("127.0.0.1", 8000, Path("data"))


def test_outside_units_become_bytes_and_seconds() -> None:
    settings = Settings.from_env({"MEMORY_LIMIT": "64", "HEARTBEAT_MS": "1500", "WRITE_WINDOW_MS": "20"})
    assert settings.memory_limit_bytes == 64 * 1024 * 1024
    assert settings.heartbeat_s == 1.5
    assert settings.write_window_s == 0.02


def test_blanks_around_a_value_do_not_count_and_an_empty_one_is_unset() -> None:
    settings = Settings.from_env({"MAX_CHAT_HISTORY": " 9\n", "MEMORY_LIMIT": "", "OPENAI_MODEL": "  "})
    assert settings == Settings(max_chat_history=9)


@pytest.mark.parametrize("text", ["5e2", "٥", "1_000", "inf", "nan", "-1", "+5", "5.0", "0x10", "5 0", "²", "9" * 5000])
def test_a_number_is_only_what_digits_say(text: str) -> None:
    (problem,) = problems_of(MAX_CHAT_HISTORY=text)
    assert problem.startswith("MAX_CHAT_HISTORY is ")
    assert problem.endswith("; wanted is 1 to 10000 messages, in digits 0-9")
    assert len(problem) < 200


@pytest.mark.parametrize("text", ["0", "0.0", "1.01", "nan", "inf", "1e-1", "-0.5", "٠.٥", "80%", "0,8", ".", "1."])
def test_a_share_is_above_0_and_at_most_1(text: str) -> None:
    (problem,) = problems_of(MEMORY_WARNING=text)
    assert problem == f"MEMORY_WARNING is {text!r}; wanted is a number above 0 and at most 1, such as 0.8"


@pytest.mark.parametrize(("name", "text"), [("MEMORY_LIMIT", "15"), ("WEB_PORT", "65536"), ("DB_POOL_MAX", "0")])
def test_a_number_outside_its_range_is_refused(name: str, text: str) -> None:
    (problem,) = problems_of(**{name: text})
    assert problem.startswith(f"{name} is '{text}'; wanted is ")


def test_all_bad_values_are_told_in_one_error() -> None:
    problems = problems_of(APP_ENV="prod", MEMORY_LIMIT="lots", CACHE_TTL_FAQ="never", LOG_LEVEL="loud")
    assert [problem.split(" is ")[0] for problem in problems] == [
        "APP_ENV",
        "LOG_LEVEL",
        "MEMORY_LIMIT",
        "CACHE_TTL_FAQ",
    ]
    assert problems[0] == "APP_ENV is 'prod'; wanted is one of production, development, test"


def test_the_old_name_of_the_environment_is_read_where_the_new_one_is_unset() -> None:
    assert Settings.from_env({"NODE_ENV": "Development"}).environment == "development"
    assert Settings.from_env({"APP_ENV": "test", "NODE_ENV": "development"}).environment == "test"
    assert problems_of(NODE_ENV="stage")[0].startswith("NODE_ENV is 'stage'")


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"MEMORY_WARNING": "0.9"},
            "MEMORY_WARNING is 0.9; wanted is less than MEMORY_CRITICAL, 0.9",
        ),
        (
            {"DB_POOL_MIN": "4", "DB_POOL_MAX": "3"},
            "DB_POOL_MIN is 4; wanted is at most DB_POOL_MAX, 3",
        ),
        (
            {"RECONNECT_BASE_MS": "2000", "RECONNECT_MAX_MS": "1999"},
            "RECONNECT_BASE_MS is 2000; wanted is at most RECONNECT_MAX_MS, 1999",
        ),
        (
            {"WEB_HOST": "0.0.0.0"},
            "WEB_HOST is '0.0.0.0', which others can reach; wanted is a WEB_TOKEN, or the host 127.0.0.1",
        ),
    ],
)
def test_variables_that_contradict_each_other_are_told(environ: dict[str, str], problem: str) -> None:
    assert problems_of(**environ) == (problem,)


def test_a_bad_value_is_not_compared_with_others() -> None:
    assert len(problems_of(DB_POOL_MIN="many", DB_POOL_MAX="1")) == 1
    assert len(problems_of(WEB_HOST="::", WEB_TOKEN="short")) == 1


def test_a_token_opens_the_host_to_others() -> None:
    settings = Settings.from_env({"WEB_HOST": "0.0.0.0", "WEB_TOKEN": "t" * 16})
    assert settings.web_token.reveal() == "t" * 16


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("LOCALHOST", True), ("0.0.0.0", False), ("a.b", False)],
)
def test_only_this_machine_reaches_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "http://a", "a b", "1.2.3", "[::1]", "ñ", "a..b"])
def test_a_host_is_an_address_or_a_name(host: str) -> None:
    assert problems_of(WEB_HOST=host, WEB_TOKEN="t" * 16)[0].startswith("WEB_HOST is ")


@pytest.mark.parametrize(
    "url",
    ["api.openai.com/v1", "ftp://a/v1", "http://", "http://a:0x1/v1", "http://a:99999", "http://[/", "http://a b"],
)
def test_a_base_url_must_be_reachable(url: str) -> None:
    assert problems_of(OPENAI_BASE_URL=url)[0].startswith(f"OPENAI_BASE_URL is {url!r}; wanted is an address such as ")


def test_a_base_url_holds_no_password_and_none_is_printed() -> None:
    (problem,) = problems_of(OPENAI_BASE_URL="http://me:hunter2@a/v1")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@h:5432/d", "postgres://h/d?sslmode=require", "postgresql:///d?host=/s"]
)
def test_a_database_url_is_kept_as_it_is(url: str) -> None:
    assert Settings.from_env({"DATABASE_URL": url}).database_url.reveal() == url


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "h/d", "postgresql://u:hunter2@h:port/d"])
def test_a_database_url_of_another_kind_is_refused_without_showing_it(url: str) -> None:
    (problem,) = problems_of(DATABASE_URL=url)
    assert problem == (
        "DATABASE_URL is '***'; wanted is an address such as postgresql://user:password@host:5432/database"
    )


def test_control_characters_and_undecodable_bytes_are_no_text() -> None:
    for text in ("a\tb", "a\x00b", "\udcff"):
        assert problems_of(OPENAI_MODEL=text) == (f"OPENAI_MODEL is {text!r}; wanted is one line of text",)
        assert problems_of(OPENAI_API_KEY=text) == ("OPENAI_API_KEY is '***'; wanted is one line of text",)


def test_cache_times_to_live_are_a_mapping_by_policy() -> None:
    settings = Settings.from_env(
        {"CACHE_TTL_REPLY": "60", "CACHE_TTL_LONG_FAQ": "5", "CACHE_TTL_NONE": "", "CACHE_TTL_": "1"}
    )
    assert dict(settings.cache_ttl_s) == {"long_faq": 5, "reply": 60}


def test_alerts_are_a_mapping_of_secrets_also_from_files(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text("https://example.com/hook\n")
    settings = Settings.from_env({"ALERT_WEBHOOK_URL_FILE": str(file), "ALERT_MIN_LEVEL": "error"})
    assert {name: value.reveal() for name, value in settings.alerts.items()} == {
        "webhook_url": "https://example.com/hook",
        "min_level": "error",
    }


def test_a_mapping_cannot_be_changed_afterwards() -> None:
    settings: Any = Settings.from_env({"CACHE_TTL_REPLY": "60"})
    with pytest.raises(TypeError):
        settings.cache_ttl_s["reply"] = 1
    with pytest.raises(AttributeError):
        settings.web_port = 1


SECRETS = [name for name, variable in Settings.variables().items() if variable.kind.secret and not variable.many]


def test_everything_that_opens_a_door_is_a_secret() -> None:
    assert set(SECRETS) == {
        "database_url",
        "whatsapp_session_url",
        "openai_api_key",
        "secret_key",
        "web_token",
        "metrics_token",
    }


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_a_file_too_and_never_prints(name: str, tmp_path: Path) -> None:
    variable = Settings.variables()[name]
    text = "postgres://host/hunter2-hunter2-hunter2-hunter2"
    file = tmp_path / "secret"
    file.write_text(f"{text}\n")
    settings = Settings.from_env({f"{variable.name}_FILE": str(file)})
    assert getattr(settings, name).reveal() == text
    assert Settings.from_env({variable.name: text}) == settings
    for printed in (
        repr(settings),
        str(settings),
        f"{getattr(settings, name)}",
        *variable.lines(getattr(settings, name)),
    ):
        assert "hunter2" not in printed


def test_a_bad_secret_from_a_file_names_the_file_variable_and_hides_the_value(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")
    (problem,) = problems_of(WEB_TOKEN_FILE=str(file))
    assert problem == "WEB_TOKEN_FILE is '***'; wanted is 16 or more ASCII letters, digits or signs"


def test_a_secret_given_twice_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(OPENAI_API_KEY="a", OPENAI_API_KEY_FILE=str(tmp_path))
    assert problem == "OPENAI_API_KEY and OPENAI_API_KEY_FILE are both set; wanted is one of them"


def test_a_secret_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    contents = {"empty": b" \n", "binary": b"\xff\xfe", "huge": b"x" * 100_000}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    reasons = {
        "empty": "is empty",
        "binary": "is not UTF-8 text",
        "huge": "has more than 65536 bytes",
        ".": "cannot be read (Is a directory)",
    }
    for name, reason in reasons.items():
        (problem,) = problems_of(OPENAI_API_KEY_FILE=f"{tmp_path}/{name}")
        start = f"OPENAI_API_KEY_FILE is '{tmp_path}/{name}', which {reason}; "
        assert problem == start + "wanted is the name of a file that holds the value"


@pytest.mark.parametrize("text", ["sk-hunter2", "sk-hunter2" * 1000, "hunter2\x00"])
def test_a_secret_given_as_its_own_file_name_is_not_shown(text: str) -> None:
    (problem,) = problems_of(OPENAI_API_KEY_FILE=text)
    assert problem.startswith("OPENAI_API_KEY_FILE is '***', which ")
    assert "hunter2" not in problem


def test_an_empty_secret_is_false_and_secrets_compare_by_text() -> None:
    assert not Secret()
    assert Secret("a")
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert (repr(Secret("a")), str(Secret())) == ("Secret('***')", "")


@given(
    st.integers(16, 2**20),
    st.integers(1000, 3_600_000),
    st.integers(0, 1000),
    st.sampled_from(["debug", "off"]) | st.none(),
    st.dictionaries(st.from_regex("[a-z][a-z0-9_]{0,9}", fullmatch=True), st.integers(1, 10_000)),
)
def test_what_settings_write_reads_back_as_the_same(
    memory_mib: int, heartbeat_ms: int, window_ms: int, level: str | None, ttls: dict[str, int]
) -> None:
    settings = Settings(
        memory_limit_bytes=memory_mib * MIB,
        heartbeat_s=heartbeat_ms / 1000,
        write_window_s=window_ms / 1000,
        log_level=level,
        cache_ttl_s=ttls,
    )
    lines = (
        line for name, variable in Settings.variables().items() for line in variable.lines(getattr(settings, name))
    )
    assert Settings.from_env(dict(line.split("=", 1) for line in lines)) == settings


@given(st.dictionaries(st.sampled_from([v.name for v in Settings.variables().values()]), st.text()))
def test_any_text_is_either_read_or_refused_in_a_sentence(environ: dict[str, str]) -> None:
    problems: tuple[str, ...] = ()
    try:
        Settings.from_env(environ)
    except ConfigurationError as error:
        problems = error.problems
    assert all(re.match(r"[A-Z_]+ is .*; wanted is ", problem, re.DOTALL) for problem in problems)


def test_every_variable_says_what_it_means() -> None:
    variables = Settings.variables().values()
    assert len({variable.name for variable in variables}) == len(variables)
    assert all(variable.meaning and variable.kind.wanted for variable in variables)


def test_a_given_secret_key_makes_no_file(tmp_path: Path) -> None:
    settings = Settings.from_env({"SECRET_KEY": "k" * 32, "DATA_DIR": str(tmp_path / "data")})
    assert len(secret_key(settings)) == 32
    assert not settings.data_dir.exists()


def test_the_secret_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "deep" / "data")
    key = secret_key(settings)
    (file,) = settings.data_dir.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret_key(settings) == key
    assert secret_key(Settings(data_dir=tmp_path / "other")) != key


def test_the_kept_key_can_move_into_the_environment(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    key = secret_key(settings)
    assert secret_key(Settings.from_env({"SECRET_KEY_FILE": str(tmp_path / "secret_key")})) == key


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "secret_key"
    file.write_text("")
    with pytest.raises(ConfigurationError, match="does not hold the 64 hexadecimal digits"):
        secret_key(Settings(data_dir=tmp_path))
    assert file.read_text() == ""


def test_a_folder_that_cannot_hold_the_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/secret_key \(.+\); make DATA_DIR writable, or set"):
        secret_key(Settings(data_dir=tmp_path / "file"))


def test_those_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    together = threading.Barrier(8)

    def start(_: int) -> bytes:
        together.wait(10)
        return secret_key(settings)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(start, range(8)))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]
