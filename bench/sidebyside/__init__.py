"""The parts of the side-by-side comparison (bench/compare.py) and the growth study (bench/growth.py).

    processes  starts, watches and ends everything; what it cost in CPU time and memory
    variants   what is compared, and how each is started
    measure    one run of the generator, with everything that makes it trustworthy or not
    schedule   what is still to be done and how long that takes
    memory     memory for idle connections and open streams
    summary    from runs to rows: medians, ratios within a round, added latency
    targets    what was promised, as rows that pass or fail
    plots      SVG, without any library
    report     the dated results folder

Python 3.11, standard library only.
"""
