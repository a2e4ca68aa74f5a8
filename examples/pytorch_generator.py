"""A PyTorch training loop as a generator objective, on the images that ship with tunesmith.

Every ``yield`` reports the validation error of an epoch, and the stopping rule may end the trial there.

python examples/pytorch_generator.py [STORAGE]

With a storage (sqlite:///study.db, or a path ending in .jsonl) the search goes on where the last run of this script
stopped, also if that was with Ctrl-C.
"""

import sys

import torch
from torch import nn
from torch.nn import functional

import tunesmith as ts
from tunesmith.train import load_dataset, split

EPOCHS = 6


def load():
    """Training and validation part: images (n, 784) in [0, 1], labels (n,)."""
    parts = split(load_dataset("fashion-mnist-small"), seed=0, n_train=1000)  # half of them, to be quick
    return [
        (torch.tensor(images).flatten(1) / 255, torch.tensor(labels))
        for images, labels in (parts.train_part, parts.validation_part)
    ]


def make_network(trial):
    width = trial.suggest_int("width", 16, 128, log=True)
    layers = [nn.Linear(784, width), nn.ReLU()]
    if trial.suggest_int("hidden_layers", 1, 2) == 2:
        layers += [nn.Linear(width, width), nn.ReLU()]
    if trial.suggest_categorical("dropout", [False, True]):
        layers.append(nn.Dropout(trial.suggest_float("dropout_rate", 0.1, 0.6)))
    return nn.Sequential(*layers, nn.Linear(width, 10))


def objective(trial):
    torch.manual_seed(trial.number)  # so that an interrupted trial repeats itself
    network = make_network(trial)
    optimizer = torch.optim.SGD(network.parameters(), lr=trial.suggest_float("lr", 1e-3, 1.0, log=True))
    (images, labels), (val_images, val_labels) = load()
    for _ in range(EPOCHS):
        network.train()
        for batch in torch.randperm(len(labels)).split(64):
            loss = functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            logits = network(val_images)
        yield {
            "error": (logits.argmax(1) != val_labels).float().mean().item(),
            "loss": functional.cross_entropy(logits, val_labels).item(),
        }


def main(storage):
    torch.set_num_threads(1)
    study = ts.create_study(study_name="mlp", storage=storage, pruner="median", seed=0, load_if_exists=True)
    study.optimize(objective, n_trials=10)
    for trial in study.trials:
        print(f"{trial.number:3d}  {trial.state.name:8s}  {len(trial.intermediate_values)} epochs  {trial.params}")
    best = study.best_trial
    print(f"best: trial {best.number}, error {best.value:.3f}, loss {best.metrics['loss'][EPOCHS]:.3f}")


if __name__ == "__main__":
    ts.logging.set_verbosity(ts.logging.WARNING)
    main(sys.argv[1] if len(sys.argv) > 1 else None)
