"""One key on all hosts: what is signed on one is accepted on the others, and nothing else is."""

from collections.abc import Callable

from testinfra.host import Host

On = Callable[[str], Host]


def test_a_credential_of_one_host_is_accepted_on_the_other(on: On) -> None:
    for maker, reader in (("head", "gpu001"), ("gpu001", "head")):
        credential = on(maker).check_output("munge --string=%s", f"from {maker}")
        read = on(reader).run("echo %s | unmunge", credential)
        assert read.rc == 0, read.stderr
        assert f"from {maker}" in read.stdout


def test_a_credential_signed_with_another_key_is_refused(on: On) -> None:
    credential = on("head").check_output("munge --no-input").strip()
    middle = len(credential) // 2
    forged = credential[:middle] + ("A" if credential[middle] != "A" else "B") + credential[middle + 1 :]
    assert on("gpu001").run("echo %s | unmunge", forged).rc != 0


def test_only_munge_reads_the_key(on: On) -> None:
    for name in ("head", "gpu001"):
        key = on(name).file("/etc/munge/munge.key")
        assert (key.user, key.group, key.mode) == ("munge", "munge", 0o400)


def test_it_comes_back_with_the_host(on: On) -> None:
    for name in ("head", "gpu001"):
        service = on(name).service("munge")
        assert service.is_running and service.is_enabled
