// Machines of a remote experiment, reached as one should: known host keys, the manager's port only inside of the ssh
// connection, nothing installed there, results brought back, lost machines taken up again.
const crypto = require('crypto');
const fs = require('fs/promises');
const { createRequire } = require('module');
const net = require('net');
const os = require('os');
const path = require('path');

const RETRY_MS = 20000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ofManager = (name) => createRequire(process.argv[1])(name);
const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

// The keys that the user's known_hosts names for a machine, as {type, key}.
async function knownKeys(host, port) {
    const name = port === 22 ? host : `[${host}]:${port}`;
    const keys = [];
    for (const file of [path.join(os.homedir(), '.ssh', 'known_hosts'), '/etc/ssh/ssh_known_hosts']) {
        const text = await fs.readFile(file, 'utf8').catch(() => '');
        for (const line of text.split('\n')) {
            const [names, type, key] = line.trim().split(/\s+/);
            if (key && !names.startsWith('@') && !names.startsWith('#') && names.split(',').some((one) => isName(one, name))) {
                keys.push({ type, key });
            }
        }
    }
    return keys;
}

function isName(written, name) {
    const [, kind, salt, hash] = written.split('|');
    if (kind !== '1') {
        return written === name;
    }
    return crypto.createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash;
}

exports.Ssh = (prototype) => {
    const { exec } = prototype;
    if (!prototype.setPath) {
        return; // another module's class of that name
    }

    // Without this any host key is taken, a machine that loses its power is noticed after a quarter of an hour, and an
    // error of the connection ends the manager.
    prototype.connect = async function () {
        const { host, port, user, password, sshKeyFile, sshPassphrase } = this.config;
        const keys = await knownKeys(host, port);
        if (keys.length === 0) {
            throw new Error(`${host}: its key is not in ~/.ssh/known_hosts; look at it once: ssh -p ${port} ${user}@${host}`);
        }
        const types = [...new Set(keys.map((one) => one.type))];
        const serverHostKey = types.flatMap((type) => (type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]));
        const options = {
            host, port, username: user, password, readyTimeout: 60000, keepaliveInterval: 5000, keepaliveCountMax: 3,
            algorithms: { serverHostKey },
            hostVerifier: (key) => keys.some((one) => one.key === key.toString('base64')),
        };
        if (sshKeyFile) {
            options.privateKey = await fs.readFile(sshKeyFile, 'utf8');
            options.passphrase = sshPassphrase;
        }
        const { Client } = ofManager('ssh2');
        this.client = new Client();
        await new Promise((resolve, reject) => {
            this.client.once('ready', resolve).once('error', reject).connect(options);
        });
        this.client.on('error', (error) => this.log.error('Connection error:', error));
        this.lost = new Promise((resolve) => this.client.once('close', resolve));
    };

    // Lead a port of the machine's loopback interface to the manager's; returns the machine's port.
    prototype.tunnel = async function (managerPort) {
        this.client.on('tcp connection', (_details, accept) => {
            const stream = accept();
            const socket = net.connect(managerPort, '127.0.0.1');
            socket.on('error', () => stream.destroy()).on('close', () => stream.destroy());
            stream.on('error', () => socket.destroy()).on('close', () => socket.destroy());
            stream.pipe(socket).pipe(stream);
        });
        return await new Promise((resolve, reject) => {
            this.client.forwardIn('127.0.0.1', 0, (error, port) => (error ? reject(error) : resolve(port)));
        });
    };

    prototype.exec = async function (command) {
        // Without the first change every start upgrades NNI from the network; without the second the machine's keeper
        // listens on every interface, and what an earlier one left runs on beside it.
        command = command.replace('-m pip install nni --upgrade', '-c "import rrnet_nni.experiments.keeper"');
        command = command.replace('nni.tools.nni_manager_scripts.launch_trial_keeper', 'rrnet_nni.experiments.keeper');
        return await exec.call(this, command);
    };
};

exports.Worker = (prototype) => {
    const { start, launchTrialKeeperDaemon } = prototype;
    if (!launchTrialKeeperDaemon) {
        return; // another module's class of that name
    }

    prototype.orLost = function (promise) {
        const lost = this.ssh.lost.then(() => { throw new Error(`the connection to ${this.config.host} is lost`); });
        return Promise.race([promise, lost]);
    };

    prototype.launchTrialKeeperDaemon = async function () {
        const port = await this.ssh.tunnel(global.nni.args.port);
        this.channelUrl = this.channelUrl.replace(/^ws:\/\/[^/]+/, `ws://127.0.0.1:${port}`);
        this.ssh.lost.then(() => this.channel?.terminate('the connection to the machine is lost'));
        await this.orLost(launchTrialKeeperDaemon.call(this));
    };

    prototype.start = async function () {
        const launched = start.call(this);
        launched.catch(() => {});
        while (!this.ssh.lost) {
            await Promise.race([launched, sleep(100)]); // an error of the connection is thrown here
        }
        await this.orLost(launched);
    };

    // Everything that a trial left, whole or not at all.
    prototype.fetchTrial = async function (id) {
        const there = path.posix.join(path.posix.dirname(this.uploadDir), 'trials');
        const here = path.join(global.nni.paths.experimentRoot, 'environments', this.envId, 'trials');
        const [packed, unfinished] = [path.posix.join(there, `${id}.tgz`), path.join(here, `.${id}`)];
        await this.ssh.run(`tar -C ${quoted(there)} -czf ${quoted(packed)} ${quoted(id)}`);
        await fs.rm(unfinished, { recursive: true, force: true });
        await fs.mkdir(unfinished, { recursive: true });
        await this.ssh.download(packed, `${unfinished}.tgz`);
        await ofManager('tar').extract({ cwd: unfinished, file: `${unfinished}.tgz` });
        await fs.rm(path.join(here, id), { recursive: true, force: true });
        await fs.rename(path.join(unfinished, id), path.join(here, id));
        await fs.rm(unfinished, { recursive: true });
        await fs.rm(`${unfinished}.tgz`);
        await this.ssh.run(`rm -f ${quoted(packed)}`);
    };
};

exports.RemoteTrainingServiceV3 = (prototype) => {
    const { launchWorker, createTrial, stop } = prototype;
    prototype.keepsTrials = true;

    prototype.forget = function (config) {
        for (const worker of this.workers.filter((one) => one.config === config)) {
            this.workersByChannel.delete(worker.channelId);
            this.workersByEnv.delete(worker.envId);
            worker.ssh.disconnect();
        }
        this.workers = this.workers.filter((worker) => worker.config !== config);
    };

    // A machine keeps its number, and so its folder with the checkpoints of interrupted trials.
    prototype.launchWorker = async function (config) {
        this.lastWorkerIndex = this.config.machineList.indexOf(config);
        try {
            return await launchWorker.call(this, config);
        } catch (error) {
            this.log.error(`Machine ${config.host} cannot be used:`, error);
            this.forget(config);
            throw error;
        }
    };

    // Without this one machine that is away ends the experiment.
    prototype.start = async function () {
        await this.server.start();
        const { machineList } = this.config;
        const launched = await Promise.allSettled(machineList.map((config) => this.launchWorker(config)));
        if (launched.every((one) => one.status === 'rejected')) {
            throw new Error(`no machine can be used: ${launched.map((one) => one.reason.message).join('; ')}`);
        }
        launched.forEach((one, index) => {
            if (one.status === 'fulfilled') {
                one.value.rrnetReady = true;
            } else {
                this.recover(machineList[index]);
            }
        });
        return this.ready().map((worker) => worker.env);
    };

    prototype.ready = function () {
        return this.workers.filter((worker) => worker.rrnetReady);
    };

    prototype.emitEnvUpdate = function () {
        this.emitter.emit('env_update', this.ready().map((worker) => worker.env));
    };

    prototype.restartWorker = async function (worker) {
        if (this.workers.includes(worker)) {
            this.forget(worker.config);
            this.stopWorker(worker, true);
            await this.recover(worker.config);
        }
    };

    // Without this a machine is tried once more, and then never again.
    prototype.recover = async function (config) {
        await sleep(RETRY_MS);
        while (!this.rrnetStopped) {
            try {
                const worker = await this.launchWorker(config);
                for (const name of this.uploadedDirs) {
                    await worker.upload(name, path.join(global.nni.paths.experimentRoot, 'tarball', `${name}.tgz`));
                }
                worker.rrnetReady = true;
                this.emitEnvUpdate();
                this.log.info(`Machine ${config.host} is back`);
                return;
            } catch {
                this.forget(config);
                await sleep(RETRY_MS);
            }
        }
    };

    prototype.createTrial = async function (envId, ...rest) {
        const worker = this.workersByEnv.get(envId);
        return worker ? await worker.orLost(createTrial.call(this, envId, ...rest)) : null;
    };

    // A trial has ended when what it left is here: whoever sees its end finds its result.
    prototype.onTrialEnd = function (callback) {
        this.emitter.on('trial_stop', async (id, timestamp, exitCode) => {
            const worker = this.workersByTrial.get(id);
            if (worker && exitCode !== null) {
                try {
                    await worker.orLost(worker.fetchTrial(id));
                } catch (error) {
                    this.log.error(`What trial ${id} left on ${worker.config.host} cannot be fetched:`, error);
                    if (!this.workers.includes(worker) || (await Promise.race([worker.ssh.lost.then(() => true), sleep(0)]))) {
                        return; // with its machine, whose trials are all started again
                    }
                    exitCode = 1;
                }
            }
            this.workersByTrial.delete(id);
            callback(id, timestamp, exitCode);
        });
    };

    prototype.stop = async function () {
        this.rrnetStopped = true;
        await stop.call(this);
        this.workers.forEach((worker) => worker.ssh.disconnect());
    };

    // The log of a trial that has ended is here.
    const { downloadTrialDirectory } = prototype;
    prototype.downloadTrialDirectory = async function (id) {
        const environments = path.join(global.nni.paths.experimentRoot, 'environments');
        for (const environment of await fs.readdir(environments).catch(() => [])) {
            const folder = path.join(environments, environment, 'trials', id);
            if (await fs.stat(path.join(folder, 'placement.json')).catch(() => null)) {
                return folder;
            }
        }
        return await downloadTrialDirectory.call(this, id);
    };
};
