"""The whole pipeline under `kill -9`: workers that die at random instants, and whether the store shows it afterwards.

`python -m monitoring_pipeline_tests.kills --times 300 --seed 1` kills as often as asked and reports; `test_kills` does
a smaller number of the same in the suite. `scenario` is what arrives, `worker` what a process does, `nursery` where
processes are born and killed, `dump` how two stores are compared, `campaign` the loop.
"""
