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

// Classes of the manager that need another method, by name: each is changed when its module is loaded.
const changes = { ...require('./manager_trials.js'), ...require('./manager_machines.js') };
const Module = require('module');
const load = Module._load;
Module._load = function (...args) {
    const loaded = load.apply(this, args);
    for (const [name, change] of Object.entries(changes)) {
        const found = loaded && Object.prototype.hasOwnProperty.call(loaded, name) ? loaded[name] : undefined;
        if (typeof found === 'function' && !Object.prototype.hasOwnProperty.call(found, 'changedByRRNet')) {
            found.changedByRRNet = true;
            change(found.prototype);
        }
    }
    return loaded;
};
