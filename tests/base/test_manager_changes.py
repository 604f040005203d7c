"""What `manager_preload.js` changes in NNI's manager. A test named "still" fails when NNI does better by itself, and
the change whose comment names the fault can go; the others fail when a change no longer works."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import nni_node
import pytest

from rrnet_nni.experiments import nni_manager

NODE = Path(nni_node.__path__[0])
EXPERIMENTS = Path(nni_manager.__file__).parent
PRELOAD = EXPERIMENTS / "manager_preload.js"

STILL = {
    "listens on every interface": ("rest_server/core.js", "app.listen(this.port)"),
    "gives a tuner ten seconds": ("core/tuner_command_channel.js", "Tuner did not connect"),
    "hands parameters out in the order of asking": ("training_service/v3/compat.js", "this.parameters.shift()"),
    "takes machines in turn": ("training_service/v3/compat.js", "(prevIndex + 1) % this.environments.length"),
    "gives a trial without a machine another id": (
        "training_service/v3/compat.js",
        "createTrial(envId, this.config.trialCommand, 'trial_code', form.sequenceId);",
    ),
    "counts a lost trial as cancelled": ("training_service/v3/compat.js", "trial.status = 'USER_CANCELED'"),
    "counts from what was recovered alone": ("core/nnimanager.js", "nextSequenceId = maxSequeceId + 1"),
    "upgrades itself on machines": ("training_service/remote_v3/worker.js", "pip install nni --upgrade"),
    "fetches logs alone": ("training_service/remote_v3/worker.js", "['trial.log', 'trial.stdout', 'trial.stderr']"),
    "ends with the first machine that is away": (
        "training_service/remote_v3/remote.js",
        "await Promise.all(this.config.machineList.map",
    ),
    "gives a machine a new folder": ("training_service/remote_v3/remote.js", "this.lastWorkerIndex += 1"),
}
SCRIPT = """
require('app-module-path').addPath(process.cwd());
const path = require('path');
require('common/globals').initGlobalsCustom({{
    experimentId: 'x', experimentsDirectory: path.dirname(process.argv[2]), logLevel: 'info', port: 0,
}}, path.join(process.argv[2], 'log'));
const {{ V3asV1 }} = require('training_service/v3/compat');
const {{ NNIManager }} = require('core/nnimanager');
const {{ Ssh }} = require('training_service/remote_v3/ssh');
const {{ RemoteTrainingServiceV3 }} = require('training_service/remote_v3');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
global.nni.paths = {{ experimentRoot: process.argv[2] }};
const form = (number, more) => (
    {{ sequenceId: number, hyperParameters: {{ value: `parameters ${{number}}` }}, ...more }}
);
async function service(concurrency) {{
    const made = new V3asV1({{ platform: 'local', trialCommand: 'x', trialCodeDirectory: '.', machineList: [1, 2] }});
    const calls = {{ created: [], sent: [] }};
    const listeners = {{}};
    made.v3 = {{
        keepsTrials: true, calls, listeners, init: async () => {{}}, uploadDirectory: async () => {{}},
        start: async () => [{{ id: 'a', host: 'alpha' }}, {{ id: 'b', host: 'beta' }}],
        createTrial: async (envId, _command, _code, _number, id) => {{ calls.created.push([envId, id]); return id; }},
        sendParameter: async (id, parameter) => {{ calls.sent.push([id, parameter]); }},
        stopTrial: async () => {{}}, stop: async () => {{}},
    }};
    for (const name of ['RequestParameter', 'Metric', 'TrialStart', 'TrialEnd', 'EnvironmentUpdate']) {{
        made.v3[`on${{name}}`] = (callback) => {{ listeners[name] = callback; }};
    }}
    made.rrnetConcurrency = () => concurrency;
    await made.start();
    return made;
}}
(async () => {{
    const answer = await (async () => {{ {body} }})();
    console.log(JSON.stringify(answer));
    process.exit(0);
}})().catch((error) => {{ console.error(error); process.exit(1); }});
"""


def in_the_manager(folder: Path, body: str) -> Any:
    """What a function body returns in a process as the manager's, its classes changed."""
    script = NODE / "main.js"  # modules of the manager are found from there
    code = f"process.argv[1] = {json.dumps(str(script))};" + SCRIPT.format(body=body)
    command = [str(NODE / "node"), "--require", str(PRELOAD), "-e", code, "x", str(folder)]
    ended = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("fault", STILL)
def test_nni_still(fault: str) -> None:
    file, words = STILL[fault]
    assert words in (NODE / file).read_text()


def test_nni_still_looks_at_no_host_key() -> None:
    assert "hostVerifier" not in (NODE / "training_service/remote_v3/ssh.js").read_text()


def test_nni_still_pins_what_others_have_left_behind() -> None:
    requires = [requirement.replace(" ", "") for requirement in metadata.requires("nni") or []]
    assert any(one.startswith("typeguard") and "<4.1.3" in one for one in requires), requires
    assert any(one.startswith("filelock") and "<3.12" in one for one in requires), requires


def test_nnictl_still_imports_pkg_resources() -> None:
    import nni.tools

    files = Path(nni.tools.__path__[0]).rglob("*.py")
    assert any("pkg_resources" in file.read_text(encoding="utf-8") for file in files)


def test_a_trial_goes_to_the_machine_that_is_idle_under_its_own_parameters(tmp_path: Path) -> None:
    body = """
        const made = await service(2);
        const [first, second] = [await made.submitTrialJob(form(1)), await made.submitTrialJob(form(2))];
        const third = made.submitTrialJob(form(3));
        await made.v3.listeners.RequestParameter(second.id);
        await made.v3.listeners.RequestParameter(first.id);
        const ids = [first.id, second.id];
        await sleep(700);
        const before = made.v3.calls.created.length;
        await made.v3.listeners.TrialEnd(second.id, Date.now(), 0);
        await third;
        const places = made.v3.calls.created.map(([place]) => place);
        const sent = made.v3.calls.sent.map(([id, value]) => [ids.indexOf(id), value]);
        return [before, places, sent, second.status, first.url.split(':')[0]];
    """
    assert in_the_manager(tmp_path, body) == [
        2,
        ["a", "b", "b"],
        [[1, "parameters 2"], [0, "parameters 1"]],
        "SUCCEEDED",
        "alpha",  # the web UI shows it with the trial's path
    ]


def test_a_trial_that_lost_its_machine_starts_again_as_itself_a_few_times(tmp_path: Path) -> None:
    body = """
        const made = await service(2);
        const trial = await made.submitTrialJob(form(1));
        const seen = [];
        for (let lost = 0; lost < 5; lost += 1) {
            await made.v3.listeners.TrialStart(trial.id, Date.now());
            await made.v3.listeners.EnvironmentUpdate([{ id: 'b', host: 'beta' }]);
            await made.v3.listeners.TrialEnd(trial.id, Date.now(), null);
            await made.v3.listeners.RequestParameter(trial.id);
            seen.push(trial.status);
        }
        const ids = new Set(made.v3.calls.created.map(([, id]) => id));
        return [seen, ids.size, made.v3.calls.created.map(([place]) => place), made.v3.calls.sent.length];
    """
    statuses, ids, places, sent = in_the_manager(tmp_path, body)
    assert statuses == ["WAITING"] * 4 + ["FAILED"]
    assert ids == 1
    assert places == ["a", "b", "b", "b", "b"]
    assert sent == 4
    (placement,) = tmp_path.glob("environments/b/trials/*/placement.json")
    assert json.loads(placement.read_text())["starts"] == 5
    assert json.loads(placement.read_text())["machine"] == "beta"


def test_a_trial_that_somebody_cancels_is_not_started_again(tmp_path: Path) -> None:
    body = """
        const made = await service(2);
        const trial = await made.submitTrialJob(form(1));
        await made.cancelTrialJob(trial.id, false);
        await made.v3.listeners.TrialEnd(trial.id, Date.now(), null);
        return [trial.status, made.v3.calls.created.length];
    """
    assert in_the_manager(tmp_path, body) == ["USER_CANCELED", 1]


def test_a_resumed_trial_keeps_its_id_though_its_machine_is_gone(tmp_path: Path) -> None:
    body = """
        const made = await service(2);
        const here = await made.submitTrialJob(form(1, { id: 'stays', envId: 'b' }));
        const gone = await made.submitTrialJob(form(2, { id: 'moves', envId: 'c' }));
        return [[here.id, here.envId], [gone.id, gone.envId], here.starts];
    """
    assert in_the_manager(tmp_path, body) == [["stays", "b"], ["moves", "a"], 2]


def test_what_a_trial_reports_again_stands_there_once_and_is_learned_once(tmp_path: Path) -> None:
    body = """
        const [stored, told] = [[], []];
        const manager = Object.assign(Object.create(NNIManager.prototype), {
            trialJobs: new Map([['t', {}]]), log: { debug() {}, warning() {} },
            dispatcher: { sendCommand: (kind, data) => told.push(JSON.parse(data)) },
            dataStore: {
                getMetricData: async (_id, type) => stored.filter((one) => one.type === type),
                storeMetricData: async (_id, data) => stored.push(JSON.parse(data)),
            },
        });
        const report = (type, sequence) =>
            manager.onTrialJobMetrics({ id: 't', data: JSON.stringify({ type, sequence }) });
        for (const turn of [1, 2]) {
            await report('PERIODICAL', 0); await report('PERIODICAL', 1); await report('FINAL', 0);
        }
        manager.rrnetFinals = new Set(); // another manager that resumed the experiment
        await report('FINAL', 0);
        return [stored.map((one) => one.type), told.map((one) => one.type)];
    """
    stored, told = in_the_manager(tmp_path, body)
    assert stored == ["PERIODICAL", "PERIODICAL", "FINAL"]
    assert told == ["PERIODICAL", "PERIODICAL", "FINAL", "FINAL"]


def test_trials_are_numbered_on_when_an_experiment_is_resumed_while_none_ran(tmp_path: Path) -> None:
    body = """
        const manager = Object.create(NNIManager.prototype);
        Object.assign(manager, { experimentProfile: {}, waitingTrials: [] });
        const told = { status: 'FAILED', sequenceId: 4, hyperParameters: ['{"parameters": {"latency_weight": 1}}'] };
        manager.addRecoveredTrialJob([{ status: 'SUCCEEDED', sequenceId: 0 }, told]);
        return [manager.experimentProfile.nextSequenceId, manager.rrnetGiven];
    """
    assert in_the_manager(tmp_path, body) == [5, [{"parameter": {"latency_weight": 1}, "value": None}]]


def test_a_manager_whose_experiment_is_deleted_ends(tmp_path: Path) -> None:
    body = """
        const db = path.join(global.nni.paths.experimentRoot, 'db');
        require('fs').mkdirSync(db);
        const manager = Object.assign(Object.create(NNIManager.prototype), { log: { info() {} } });
        manager.initTrainingService({ trainingService: { platform: 'local' } }).catch(() => {});
        const ended = new Promise((resolve) => { global.nni.shutdown.register('test', async () => resolve('ended')); });
        const before = await Promise.race([ended, sleep(2500).then(() => 'runs')]);
        require('fs').rmdirSync(db);
        return [before, await Promise.race([ended, sleep(20000).then(() => 'runs')])];
    """
    assert in_the_manager(tmp_path, body) == ["runs", "ended"]


def test_a_machine_whose_key_nobody_knows_is_refused_in_one_sentence(tmp_path: Path) -> None:
    body = """
        const ssh = new Ssh('1', { host: 'nowhere.invalid', port: 2222, user: 'me' });
        return await ssh.connect().then(() => 'connected', (error) => error.message);
    """
    assert in_the_manager(tmp_path, body) == (
        "nowhere.invalid: its key is not in ~/.ssh/known_hosts; look at it once: ssh -p 2222 me@nowhere.invalid"
    )


def test_the_classes_of_remote_machines_are_changed(tmp_path: Path) -> None:
    body = """
        const { Worker } = require('training_service/remote_v3/worker');
        return [[Ssh, 'tunnel'], [Worker, 'fetchTrial'], [RemoteTrainingServiceV3, 'recover']]
            .map(([kind, method]) => typeof kind.prototype[method]);
    """
    assert in_the_manager(tmp_path, body) == ["function"] * 3
