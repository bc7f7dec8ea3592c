"""The plan turns any accounting into the declared one; it removes only what it may, in an order that Slurm takes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.roles.slurm_controller.module_utils.slurm_accounting_fields import (
    ACCOUNT_FIELDS,
    QOS_FIELDS,
    Field,
    Kind,
    canonical,
    tres,
)
from fleetward.roles.slurm_controller.module_utils.slurm_accounting_plan import (
    Account,
    Busy,
    Plan,
    State,
    User,
    plan,
)

TRES = frozenset({"cpu", "mem", "gres/gpu"})
ROOT_ACCOUNT = Account(parent="", description="", organization="")
EMPTY = State(qos={"normal": {}}, accounts={"root": ROOT_ACCOUNT}, users={"root": User("root", frozenset({"root"}))})
DECLARED = State(
    qos={"normal": {"Priority": "100"}, "high": {"Priority": "1000", "Preempt": "normal"}},
    accounts={
        "research": Account("root", "research", "lab", {"QOS": "high,normal", "GrpTRES": "gres/gpu=16"}),
        "vision": Account("research", "vision", "lab", {"MaxWall": "3600"}),
    },
    users={"ada": User("vision", frozenset({"vision", "research"}))},
)


class Slurm:
    """Does what sacctmgr does with its arguments, and refuses what it refuses."""

    def __init__(self, state: State) -> None:
        self.qos = {name: dict(values) for name, values in state.qos.items()}
        self.accounts = {
            name: replace(account, values=dict(account.values)) for name, account in state.accounts.items()
        }
        self.users = dict(state.users)

    @property
    def state(self) -> State:
        """Everything as it is now."""
        return State(self.qos, self.accounts, self.users)

    def run(self, made: Plan) -> "Slurm":
        """Carry a plan out."""
        for verb, kind, *rest in made.operations:
            getattr(self, f"_{verb}_{kind}")(*rest)
        return self

    def _add_qos(self, name: str) -> None:
        assert name not in self.qos
        self.qos[name] = {}

    def _modify_qos(self, _where: str, name: str, _set: str, *options: str) -> None:
        values = self.qos[name.removeprefix("name=")]
        _set_options(values, QOS_FIELDS, options)
        assert set(filter(None, values.get("Preempt", "").split(","))) <= set(self.qos)

    def _delete_qos(self, _where: str, name: str) -> None:
        del self.qos[name.removeprefix("name=")]

    def _add_account(self, name: str, _cluster: str, parent: str) -> None:
        assert name not in self.accounts
        assert parent.removeprefix("parent=") in self.accounts
        self.accounts[name] = Account(parent.removeprefix("parent="), "", "", {})

    def _modify_account(self, _where: str, name: str, *rest: str) -> None:
        key, options = name.removeprefix("name="), list(rest[rest.index("set") + 1 :])
        for option in list(options):
            what, _, value = option.partition("=")
            if what in {"parent", "Description", "Organization"}:
                options.remove(option)
                assert what != "parent" or key not in self._line(value), "an account below itself"
                self.accounts[key] = _changed(self.accounts[key], what, value)
        _set_options(self.accounts[key].values, ACCOUNT_FIELDS, options)  # type: ignore[arg-type]  # a dict, see __init__
        assert set(filter(None, self.accounts[key].values.get("QOS", "").split(","))) <= set(self.qos)

    def _line(self, name: str) -> list[str]:
        return [name, *self._line(self.accounts[name].parent)] if name in self.accounts else []

    def _delete_account(self, _where: str, name: str, _cluster: str) -> None:
        key = name.removeprefix("name=")
        assert all(account.parent != key for account in self.accounts.values()), "an account with accounts below it"
        assert all(key not in user.accounts for user in self.users.values()), "an account with users"
        del self.accounts[key]

    def _add_user(self, name: str, account: str, _cluster: str) -> None:
        key = account.removeprefix("account=")
        assert key in self.accounts
        user = self.users.get(name, User(key, frozenset()))
        self.users[name] = replace(user, accounts=user.accounts | {key})

    def _modify_user(self, _where: str, name: str, _cluster: str, _set: str, default: str) -> None:
        key, account = name.removeprefix("name="), default.removeprefix("DefaultAccount=")
        assert account in self.users[key].accounts
        self.users[key] = replace(self.users[key], default_account=account)

    def _delete_user(self, _where: str, name: str, *rest: str) -> None:
        key, accounts = name.removeprefix("name="), [each.removeprefix("account=") for each in rest[:-1]]
        if not accounts:
            del self.users[key]
            return
        assert self.users[key].default_account not in accounts, "a user's default account"
        self.users[key] = replace(self.users[key], accounts=self.users[key].accounts - set(accounts))


def _changed(account: Account, what: str, value: str) -> Account:
    match what:
        case "parent":
            return replace(account, parent=value)
        case "Description":
            return replace(account, description=value)
        case _:
            return replace(account, organization=value)


def _set_options(values: dict[str, str], fields: tuple[Field, ...], options: list[str] | tuple[str, ...]) -> None:
    by_option = {field.option: field for field in fields}
    for option in options:
        name, _, text = option.partition("=")
        field = by_option[name]
        if field.kind is Kind.TRES:
            lifted = {item.partition("=")[0] for item in text.split(",") if item.endswith("=-1")}
            counts = {k: v for k, v in (tres(values.get(field.name, "")) | tres(text)).items() if k not in lifted}
            text = ",".join(f"{key}={count}" for key, count in counts.items())
        values[field.name] = canonical(field, text)
        if values[field.name] == field.unset:
            del values[field.name]


def planned(declared: State, found: State, *, prune: bool = False, busy: Busy | None = None) -> Plan:
    return plan("lab", declared, found, known_tres=TRES, prune=prune, busy=busy)


def test_an_empty_accounting_becomes_the_declared_one() -> None:
    slurm = Slurm(EMPTY).run(planned(DECLARED, EMPTY))
    assert slurm.qos == DECLARED.qos
    assert {name: slurm.accounts[name] for name in DECLARED.accounts} == DECLARED.accounts
    assert slurm.users["ada"] == DECLARED.users["ada"]


def test_what_is_as_declared_needs_nothing() -> None:
    slurm = Slurm(EMPTY).run(planned(DECLARED, EMPTY))
    assert planned(DECLARED, slurm.state, prune=True, busy=Busy()) == Plan((), (), ())


def test_a_changed_limit_is_one_call_that_names_only_it() -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    research = DECLARED.accounts["research"]
    raised = replace(research, values={**research.values, "GrpTRES": "cpu=64,gres/gpu=16"})
    made = planned(replace(DECLARED, accounts={**DECLARED.accounts, "research": raised}), found)
    where = ("modify", "account", "where", "name=research", "cluster=lab", "set")
    assert made.operations == ((*where, "GrpTRES=cpu=64"),)


def test_a_limit_that_is_declared_no_more_is_lifted() -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    vision = replace(DECLARED.accounts["vision"], values={})
    made = planned(replace(DECLARED, accounts={**DECLARED.accounts, "vision": vision}), found)
    assert made.operations == (("modify", "account", "where", "name=vision", "cluster=lab", "set", "MaxWall=-1"),)


def test_an_account_and_its_parent_can_change_places() -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    swapped = {
        "vision": replace(DECLARED.accounts["vision"], parent="root"),
        "research": replace(DECLARED.accounts["research"], parent="vision"),
    }
    slurm = Slurm(found).run(planned(replace(DECLARED, accounts=swapped), found))
    assert {name: slurm.accounts[name].parent for name in swapped} == {"vision": "root", "research": "vision"}


def test_without_prune_nothing_is_removed_and_everything_undeclared_is_named() -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    made = planned(State(), found, busy=Busy())
    assert made.operations == ()
    assert [line.removesuffix(" is not declared") for line in made.undeclared] == [
        "user ada of research, vision",
        "account vision",
        "account research",
        "QOS high",
    ]


def test_with_prune_all_but_slurms_own_is_removed() -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    slurm = Slurm(found).run(planned(State(), found, prune=True, busy=Busy()))
    assert (set(slurm.qos), set(slurm.accounts), set(slurm.users)) == ({"normal"}, {"root"}, {"root"})


@pytest.mark.parametrize(
    ("busy", "stays"),
    [
        (Busy(users=frozenset({"ada"})), ({"normal"}, {"root", "research", "vision"}, {"root", "ada"})),
        (Busy(accounts=frozenset({"vision"})), ({"normal"}, {"root", "research", "vision"}, {"root"})),
        (Busy(qos=frozenset({"high"})), ({"normal", "high"}, {"root"}, {"root"})),
        (None, ({"normal", "high"}, {"root", "research", "vision"}, {"root", "ada"})),
    ],
    ids=["a user's job", "an account's job", "a QOS' job", "slurmctld does not say"],
)
def test_what_has_jobs_stays_with_all_that_holds_it(busy: Busy | None, stays: tuple[set[str], ...]) -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    made = planned(State(), found, prune=True, busy=busy)
    slurm = Slurm(found).run(made)
    assert (set(slurm.qos), set(slurm.accounts), set(slurm.users)) == stays
    assert made.undeclared


def test_with_prune_the_daemon_keeps_its_right_to_drain() -> None:
    found = State(accounts={"root": Account("")}, users={"fleetward": User("root", frozenset({"root"}))})
    assert plan("lab", State(), found, known_tres=TRES, prune=True, busy=Busy()).operations == ()


def test_a_user_leaves_an_account_after_its_default_has_moved() -> None:
    found = Slurm(EMPTY).run(planned(DECLARED, EMPTY)).state
    declared = replace(DECLARED, users={"ada": User("research", frozenset({"research"}))})
    slurm = Slurm(found).run(planned(declared, found, prune=True, busy=Busy()))
    assert slurm.users["ada"] == User("research", frozenset({"research"}))


def test_a_limit_on_an_unknown_tres_waits_and_the_rest_does_not() -> None:
    limits = {"GrpTRES": "cpu=8,gres/gpu:b200=4"}
    made = planned(State(qos={"normal": {}, "high": limits}), EMPTY)
    assert made.operations[-1] == ("modify", "qos", "where", "name=high", "set", "GrpTRES=cpu=8")
    assert made.deferred == ("GrpTRES of QOS high: the TRES gres/gpu:b200 is not known",)


def test_accounts_that_are_each_others_parents_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a, b are each other's parents"):
        planned(State(accounts={"a": Account("b"), "b": Account("a")}), EMPTY)


_limits = st.fixed_dictionaries(
    {},
    optional={
        "Priority": st.integers(1, 9).map(str),
        "GrpTRES": st.sampled_from(["cpu=1", "cpu=1,mem=2", "gres/gpu=3"]),
        "MaxWall": st.integers(1, 9).map(lambda minutes: str(minutes * 60)),
    },
)
_names = ["a", "b", "c", "d"]


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any accounting of up to four accounts in any tree."""
    order = draw(st.permutations(_names))[: draw(st.integers(0, 4))]
    accounts = {
        name: Account(draw(st.sampled_from(["root", *order[:index]])), "x", "y", draw(_limits))
        for index, name in enumerate(order)
    }
    users = {}
    for name in draw(st.lists(st.sampled_from(["ada", "bob"]), unique=True)) if accounts else []:
        members = draw(st.lists(st.sampled_from(sorted(accounts)), min_size=1, unique=True))
        users[name] = User(members[0], frozenset(members))
    qos = {name: draw(_limits) for name in draw(st.lists(st.sampled_from(["normal", "p", "q"]), unique=True))}
    return State(qos, accounts, users)


@given(found=states(), declared=states())
def test_from_any_state_one_plan_with_prune_leads_to_the_declared_one(found: State, declared: State) -> None:
    before = State(
        {"normal": {}, **found.qos}, {"root": ROOT_ACCOUNT, **found.accounts}, {**EMPTY.users, **found.users}
    )
    slurm = Slurm(before).run(planned(declared, before, prune=True, busy=Busy()))
    assert {
        name: values for name, values in slurm.qos.items() if name != "normal" or name in declared.qos
    } == declared.qos
    assert slurm.accounts == {"root": ROOT_ACCOUNT, **declared.accounts}
    assert slurm.users == {**EMPTY.users, **declared.users}
    assert planned(declared, slurm.state, prune=True, busy=Busy()) == Plan((), (), ())


@given(found=states(), declared=states())
def test_without_prune_nothing_that_was_there_goes(found: State, declared: State) -> None:
    before = State(
        {"normal": {}, **found.qos}, {"root": ROOT_ACCOUNT, **found.accounts}, {**EMPTY.users, **found.users}
    )
    made = planned(declared, before)
    slurm = Slurm(before).run(made)
    assert all(operation[0] != "delete" for operation in made.operations)
    assert {**declared.accounts}.items() <= slurm.accounts.items()
    assert planned(declared, slurm.state).operations == ()
