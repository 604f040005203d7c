// Preloaded into the NNI manager through NODE_OPTIONS.

// The manager listens on every interface and asks no password, so every listening socket is bound to the loopback
// interface instead.
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
    const first = args[0];
    if (first !== null && typeof first === 'object' && 'port' in first) {
        args[0] = { ...first, host: '127.0.0.1' };
    } else if (typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first))) {
        if (typeof args[1] === 'string') {
            args[1] = '127.0.0.1';
        } else {
            args.splice(1, 0, '127.0.0.1');
        }
    }
    return listen.apply(this, args);
};

// The manager gives a tuner ten seconds to connect and then fails the experiment; on a busy machine Python takes longer
// to start. That one timer gets two minutes.
const setTimer = global.setTimeout;
global.setTimeout = function (callback, delay, ...rest) {
    const patient = typeof callback === 'function' && String(callback).includes('Tuner did not connect');
    return setTimer(callback, patient ? 120000 : delay, ...rest);
};

// The manager hands parameters to trials in the order in which they ask, not to the trial that they belong to: of two
// that start together, each can get the other's. Bind a parameter to its trial as soon as the trial has an id.
const Module = require('module');
const load = Module._load;
Module._load = function (...args) {
    const loaded = load.apply(this, args);
    const service = loaded && Object.prototype.hasOwnProperty.call(loaded, 'V3asV1') ? loaded.V3asV1 : undefined;
    if (service && !service.bindsParameters) {
        service.bindsParameters = true;
        const submit = service.prototype.submitTrialJob;
        service.prototype.submitTrialJob = async function (form) {
            const trial = await submit.call(this, form);
            const index = this.parameters.indexOf(form.hyperParameters.value);
            if (index >= 0) {
                this.parameters.splice(index, 1);
                this.allocatedParameters.set(trial.id, form.hyperParameters.value);
            }
            return trial;
        };
    }
    return loaded;
};
