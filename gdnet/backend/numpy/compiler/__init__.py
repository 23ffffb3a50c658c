"""From a training step to a straight-line program, in the order in which a step passes through the files.

| file | what it does |
|---|---|
| `step.py` | `CompiledStep`: a program for each signature of arguments, its checks, and why a step has none |
| `trace.py` | runs the step on arrays that note every NumPy call on a `Tape` |
| `passes.py` | fewer calls: drops, merges, renames and joins them to chains |
| `program.py` | writes the calls as one Python function; its results lie in buffers cut from one block of memory |
| `links.py` | writes a chain as one call of a kernel |
| `chain.py` | the kernel: by `chain.c` where it is compiled, else by NumPy on blocks |
| `chain.c`, `loops.h` | runs byte code, one operation after the other on 1024 elements at a time |
| `whole.h` | the chains of gdnet's own rules, each as one loop; `gdnet/testing/whole_chains.py` writes it |

An example, with w donated:

    def step(w, x):
        y = x @ w
        y += 1.0
        return w - 0.1 * (x.T @ (y * y))

The trace, where v1 is w and v2 is x:

    v3 = matmul(v2, v1);  add(v3, 1.0, out=v3);  v4 = transpose(v2);  v5 = multiply(v3, v3)
    v6 = matmul(v4, v5);  v7 = multiply(0.1, v6);  v8 = subtract(v1, v7)

The passes rename the sum in place to v3_1, so that it can join the product after it, and fuse the product with 0.1 into
the difference. The program writes products into buffers, and the result over w:

    def program(a0, a1):
        v1 = a0
        v2 = a1
        dot_2(v2, v1, out=b1)
        v4 = transpose_3(v2)
        chain_6(b1, c4, b5)  # v3_1 = add(b1, 1.0); b5 = multiply(v3_1, v3_1)
        dot_2(v4, b5, out=b7)
        v8 = v1
        chain_9(v8, b7, c8, v1)  # v8 = subtract_scaled(b7, 0.1, v1)
        return v8

`compile(step).programs` holds such programs, with their `source`.
"""
