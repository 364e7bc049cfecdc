"""A model that is a plain function: softmax regression in NumPy, without any framework.

python examples/own_function.py
comity run examples/own_function.py --set program.local.lr=0.1
"""

import numpy as np

import comity as ct


def start(rng):
    return {"weights": np.zeros((64, 10)), "bias": np.zeros(10)}


def predict(arrays, x):
    return x @ arrays["weights"] + arrays["bias"]  # logits [n, 10]


def loss(logits, y):
    highest = logits.max(axis=1)
    return np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - logits[np.arange(len(y)), y]


def fit(arrays, x, y, plan, rng):
    for _ in range(plan.batches(len(x))):
        batch = rng.choice(len(x), size=min(plan.batch_size or len(x), len(x)), replace=False)
        logits = predict(arrays, x[batch])
        error = np.exp(logits - logits.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(batch)), y[batch]] -= 1
        arrays["weights"] -= plan.lr * x[batch].T @ error / len(batch)
        arrays["bias"] -= plan.lr * error.mean(axis=0)
    return arrays


data = ct.data.load("digits").split(ct.data.Dirichlet(parties=20, alpha=0.5))
model = ct.Function(start, fit, predict, loss, metrics=["accuracy"])
job = ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.3, epochs=3, batch_size=16)), ct.Rounds(count=40, cohort=10))
federation = ct.Simulation(data)

if __name__ == "__main__":
    run = ct.run(job, federation)
    for record in run.history.rounds[4::5]:
        print(f"round {record.round:2d}: loss {record.test['loss']:.3f}, accuracy {record.test['accuracy']:.1%}")
    print({name: array.shape for name, array in run.model.arrays().items()})
