"""Search methods and stopping rules on recorded learning curves: regret against epochs spent, with many workers.

    export TUNESMITH_TASKSET=.../taskset_rnn_imdb.npz
    python -m benchmarks.multifidelity run --methods random+none topk 'tpe+asha{"min_resource": 1}' --out runs.jsonl
    python -m benchmarks.multifidelity report runs.jsonl --against topk

The curves are those of 12 recurrent networks on IMDB text from TaskSet (Metz et al., 2020), each trained with the same
1,000 settings of an optimizer's 8 hyperparameters. A run is one (method, task, workers, seed, budget): the method is
asked for configurations and for what to stop, pause and go on with, and each epoch is looked up, in virtual time
(:class:`~tunesmith.executors.simulator.SimulatorExecutor`). A run is one line of JSON; those that the output has are
not repeated. Other libraries' methods (:mod:`benchmarks.multifidelity.peers`) run where those are installed; some need
an environment of their own (DEHB and Syne Tune: numpy < 2), from which the same command appends to another file.

Choices that matter:

- **Epochs.** A curve has 51 points, the first from before the training. That one is left out: it says nothing about a
  configuration, nobody would stop by it, and "one epoch" would mean none. So a full training is 50 epochs, and the
  budgets 50 to 2,500 epochs are 1 to 50 full trainings. Each epoch takes one virtual second, on every worker.
- **Configurations.** All axes are logarithmic, in the ranges from which TaskSet drew (momenta as one minus the value).
  A proposal is answered by the nearest configuration in the unit cube that the run has not used, the same way for all
  methods; the method is told the loss, not which configuration it was. A study has at most 1,000 configurations.
- **Divergence.** From the first loss on that is not finite a run is over: it has reported NaN, and its trial fails.
- **Score.** The incumbent is the configuration with the least validation loss reported so far, and that is its loss:
  the network of that epoch is what a user has at that time, no credit for epochs that were not paid for. Normalised
  regret: 0 is the least validation loss in the whole table, 1 the median over configurations of their least, and it is
  clipped to this range. The test variant takes the test loss at the same epoch of the incumbent, between the best and
  the median of all configurations' test losses at the epoch of their least validation loss.
- **Seeds.** A method's seed is a hash of the task's name and the run's seed, so that it does not begin with the same
  configurations on every task.
- **Budgets.** A method that does not know the budget runs once to the largest, and is read at all of them. One that is
  made for a budget (``topk``) runs for each.
- **Halves.** Of the tasks in the order of their names, the first, third, ... are for developing, the others for
  confirming.
- **The baseline.** ``topk``: one epoch for many random configurations, then the best to the end (Egele et al., 2023,
  arXiv:2307.15422), in its strong form: for each budget and number of workers the number of first epochs and of
  configurations is the best on average over all tasks (``tune``). So it knows the curves, those to confirm on too; what
  is better than it is better than any such pair that one might have chosen beforehand.
"""
