// Trials as NNI's manager should handle them: placed on the machine with most room, started again when their machine is
// lost, each under its own parameters and counted once. Each change says what the manager does without it.
const crypto = require('crypto');
const fs = require('fs/promises');
const os = require('os');
const path = require('path');

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
// A trial that loses this many machines is given up: it may be what ends them.
const MOST_STARTS = 5;
const FOLDER_MS = 2000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function newId(taken) {
    for (;;) {
        const id = Array.from({ length: 5 }, () => LETTERS[crypto.randomInt(LETTERS.length)]).join('');
        if (taken[id] === undefined) {
            return id;
        }
    }
}

// The environment with the fewest trials; null where all have as many as they shall. Without this the manager takes
// environments in turn, also one that is at work while another is idle.
function freest(service) {
    const busy = new Map(service.environments.map((environment) => [environment.id, 0]));
    for (const trial of Object.values(service.trialJobs)) {
        if (['WAITING', 'RUNNING'].includes(trial.status) && busy.has(trial.envId)) {
            busy.set(trial.envId, busy.get(trial.envId) + 1);
        }
    }
    const machines = service.config.machineList ? service.config.machineList.length : 1;
    const most = Math.ceil((service.rrnetConcurrency ? service.rrnetConcurrency() : Infinity) / machines);
    const free = [...busy].filter(([, trials]) => trials < most).sort((a, b) => a[1] - b[1]);
    return free.length > 0 ? free[0][0] : null;
}

// Give a trial its place, under the id that it has: without this a resumed trial whose machine is gone gets a second
// id, and the first one waits for ever. Its parameters are bound to that id: without this, trials that start together
// get each other's, for the manager hands them out in the order in which trials ask.
async function place(service, trial, wanted) {
    const asked = Date.now();
    trial.envId = null;
    while (!service.rrnetStopping) {
        const here = service.environments.some((environment) => environment.id === wanted);
        const envId = here ? wanted : freest(service);
        wanted = null;
        if (envId !== null) {
            service.allocatedParameters.set(trial.id, trial.form.hyperParameters.value);
            trial.envId = envId;
            try {
                const { trialCommand } = service.config;
                if (await service.v3.createTrial(envId, trialCommand, 'trial_code', trial.form.sequenceId, trial.id)) {
                    trial.waited_ms += Date.now() - asked;
                    break;
                }
            } catch (error) {
                console.error(`trial ${trial.id} cannot be started in ${envId}: ${error}`);
            }
            trial.envId = null;
        }
        await sleep(500);
    }
    const environment = service.environments.find((one) => one.id === trial.envId) || {};
    trial.machine = environment.host || os.hostname();
    // What the web UI shows as the trial's path: where it runs, and after its end here.
    trial.url = environment.host ? `${environment.host}:${trialFolder(trial)}` : trialFolder(trial);
    return trial;
}

const trialFolder = (trial) =>
    path.join(global.nni.paths.experimentRoot, 'environments', String(trial.envId), 'trials', trial.id);

// Leave word beside the result of where it was made.
async function notePlacement(trial, ended) {
    const ran_s = Math.max(0, ended - (trial.startTime || ended)) / 1000;
    const placement = { machine: trial.machine, waited_s: trial.waited_ms / 1000, ran_s, starts: trial.starts };
    await fs.mkdir(trialFolder(trial), { recursive: true });
    await fs.writeFile(path.join(trialFolder(trial), 'placement.json'), JSON.stringify(placement) + '\n');
}

exports.V3asV1 = (prototype) => {
    const { start, cancelTrialJob, cleanUp } = prototype;

    prototype.submitTrialJob = async function (form) {
        await this.startDeferred.promise;
        const id = form.id || newId(this.trialJobs);
        const starts = form.id ? 2 : 1; // one with an id ran before the manager was resumed
        const trial = { id, status: 'WAITING', submitTime: Date.now(), workingDirectory: '_unset_', form, starts, waited_ms: 0 };
        this.trialJobs[id] = trial;
        return await place(this, trial, form.envId);
    };

    prototype.start = async function () {
        const service = this.v3;
        const { onTrialEnd } = service;
        service.onTrialEnd = (callback) => onTrialEnd.call(service, async (id, timestamp, exitCode) => {
            const trial = this.trialJobs[id];
            // No exit code: it was killed, or its machine is lost. Without this it would count as cancelled.
            if (exitCode === null && service.keepsTrials && !trial.rrnetCancelled && !this.rrnetStopping) {
                if (trial.starts < MOST_STARTS) {
                    trial.starts += 1;
                    trial.status = 'WAITING';
                    await place(this, trial, null);
                    return;
                }
                exitCode = 1;
            }
            try {
                await notePlacement(trial, timestamp);
            } catch (error) {
                console.error(`cannot note where trial ${id} ran: ${error}`);
            }
            callback(id, timestamp, exitCode);
        });
        await start.call(this);
    };

    prototype.cancelTrialJob = async function (id, ...rest) {
        this.trialJobs[id].rrnetCancelled = true;
        return await cancelTrialJob.call(this, id, ...rest);
    };

    prototype.cleanUp = async function () {
        this.rrnetStopping = true;
        return await cleanUp.call(this);
    };
};

// Without this a manager whose experiment is deleted runs on for ever, and so does all that it started.
function endWithFolder(every_ms) {
    const timer = setInterval(async () => {
        const error = await fs.stat(path.join(global.nni.paths.experimentRoot, 'db')).catch((found) => found);
        if (error.code === 'ENOENT') {
            clearInterval(timer);
            global.nni.shutdown.initiate('the folder of the experiment is gone');
        }
    }, every_ms);
}

exports.NNIManager = (prototype) => {
    const { initTrainingService, addRecoveredTrialJob, onTrialJobMetrics, resumeExperiment } = prototype;

    prototype.initTrainingService = async function (config) {
        endWithFolder(FOLDER_MS);
        const service = await initTrainingService.call(this, config);
        service.rrnetConcurrency = () => this.experimentProfile.params.trialConcurrency;
        return service;
    };

    // Without this an experiment that is resumed when no trial ran counts its trials from 1 again.
    prototype.addRecoveredTrialJob = function (trials) {
        const recovered = addRecoveredTrialJob.call(this, trials);
        const numbers = trials.map((trial) => trial.sequenceId).filter((number) => number !== undefined);
        this.experimentProfile.nextSequenceId = Math.max(-1, ...numbers) + 1;
        const parameters = trials.flatMap((trial) => (trial.hyperParameters || []).slice(0, 1));
        this.rrnetGiven = parameters.map((text) => ({ parameter: JSON.parse(text).parameters, value: null }));
        return recovered;
    };

    // A manager that is killed may have asked for parameters that became no trial. Without this ParetoTuner believes
    // that they were tried: it is told of every trial that there is, and gives out the others again.
    prototype.resumeExperiment = async function (readonly) {
        await resumeExperiment.call(this, readonly);
        if (this.config.tuner && this.config.tuner.name === 'ParetoTuner' && this.rrnetGiven) {
            this.trialDataForTuner = JSON.stringify([...JSON.parse(this.trialDataForTuner || '[]'), ...this.rrnetGiven]);
        }
    };

    // A trial that was started again reports its epochs and its result again; both stand there once.
    prototype.onTrialJobMetrics = async function (metric) {
        const said = JSON.parse(metric.data);
        this.rrnetFinals = this.rrnetFinals || new Set();
        const known = await this.dataStore.getMetricData(metric.id, said.type);
        if (said.type === 'FINAL') {
            if (this.rrnetFinals.has(metric.id)) {
                return;
            }
            this.rrnetFinals.add(metric.id);
            if (known.length > 0) {
                // The manager that stored it was killed: the tuner may not have learned it.
                this.dispatcher.sendCommand('ME', metric.data);
                return;
            }
        } else if (known.some((one) => one.sequence === said.sequence)) {
            return;
        }
        return await onTrialJobMetrics.call(this, metric);
    };
};
