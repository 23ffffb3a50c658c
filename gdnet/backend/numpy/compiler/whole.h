/* The chains of gdnet's optimizers and activations, each as one loop; written by python -m gdnet.testing.whole_chains.
   WHOLE(index, how many operands X, numbers N and results Y there are, what is done to one element). A comment names
   the activation or the optimizer with which a step first made the chain. */

WHOLE(0, 2, 1, 1, /* ReLU */
    const T r0 = X(0) > N(0) ? (T)1 : (T)0;
    const T r1 = X(1) * r0;
    Y(0) = r1;)

WHOLE(1, 1, 1, 1, /* ReLU */
    const T r0 = X(0) * X(0);
    const T r1 = N(0) * r0;
    Y(0) = r1;)

WHOLE(2, 2, 1, 1, /* Tanh */
    const T r0 = X(0) * X(0);
    const T r1 = N(0) - r0;
    const T r2 = X(1) * r1;
    Y(0) = r2;)

WHOLE(3, 2, 2, 1, /* Sigmoid */
    const T r0 = X(0) >= N(0) ? (T)1 : (T)0;
    const T r1 = r0 >= X(1) || r0 != r0 ? r0 : X(1);
    const T r2 = N(1) + X(1);
    const T r3 = r1 / r2;
    Y(0) = r3;)

WHOLE(4, 2, 1, 1, /* Sigmoid */
    const T r0 = N(0) - X(0);
    const T r1 = X(0) * r0;
    const T r2 = X(1) * r1;
    Y(0) = r2;)

WHOLE(5, 2, 2, 1, /* SiLU */
    const T r0 = X(0) >= N(0) ? (T)1 : (T)0;
    const T r1 = r0 >= X(1) || r0 != r0 ? r0 : X(1);
    const T r2 = N(1) + X(1);
    const T r3 = r1 / r2;
    const T r4 = X(0) * r3;
    Y(0) = r4;)

WHOLE(6, 3, 1, 1, /* SiLU */
    const T r0 = N(0) - X(0);
    const T r1 = X(1) * r0;
    const T r2 = X(0) + r1;
    const T r3 = X(2) * r2;
    Y(0) = r3;)

WHOLE(7, 3, 2, 2, /* Momentum */
    const T r0 = X(1) + X(0) * N(0);
    const T r1 = X(2) - r0 * N(1);
    Y(0) = r0;
    Y(1) = r1;)

WHOLE(8, 3, 3, 2, /* Nesterov */
    const T r0 = X(1) + X(0) * N(0);
    const T r1 = X(1) + r0 * N(1);
    const T r2 = X(2) - r1 * N(2);
    Y(0) = r0;
    Y(1) = r2;)

WHOLE(9, 3, 2, 2, /* AdaGrad */
    const T r0 = X(0) * X(0);
    const T r1 = X(1) + r0;
    const T r2 = SQRT(r1);
    const T r3 = r2 + N(0);
    const T r4 = X(0) / r3;
    const T r5 = X(2) - r4 * N(1);
    Y(0) = r1;
    Y(1) = r5;)

WHOLE(10, 3, 4, 2, /* RMSProp */
    const T r0 = X(0) * X(0);
    const T r1 = N(0) * r0;
    const T r2 = r1 + X(1) * N(1);
    const T r3 = SQRT(r2);
    const T r4 = r3 + N(2);
    const T r5 = X(0) / r4;
    const T r6 = X(2) - r5 * N(3);
    Y(0) = r2;
    Y(1) = r6;)

WHOLE(11, 4, 4, 3, /* Adam */
    const T r0 = X(1) + X(0) * N(0);
    const T r1 = X(1) * X(1);
    const T r2 = r1 + X(2) * N(1);
    const T r3 = SQRT(r2);
    const T r4 = r3 + N(2);
    const T r5 = r0 / r4;
    const T r6 = X(3) - r5 * N(3);
    Y(0) = r0;
    Y(1) = r2;
    Y(2) = r6;)

WHOLE(12, 4, 5, 3, /* AdamW */
    const T r0 = X(0) * N(0);
    const T r1 = X(2) + X(1) * N(1);
    const T r2 = X(2) * X(2);
    const T r3 = r2 + X(3) * N(2);
    const T r4 = SQRT(r3);
    const T r5 = r4 + N(3);
    const T r6 = r1 / r5;
    const T r7 = r0 - r6 * N(4);
    Y(0) = r1;
    Y(1) = r3;
    Y(2) = r7;)

WHOLE(13, 4, 9, 3, /* NAdam */
    const T r0 = N(0) * X(0);
    const T r1 = r0 + X(1) * N(1);
    const T r2 = X(0) * X(0);
    const T r3 = N(2) * r2;
    const T r4 = r3 + X(2) * N(3);
    const T r5 = r4 / N(4);
    const T r6 = SQRT(r5);
    const T r7 = r6 + N(5);
    const T r8 = N(6) * r1;
    const T r9 = r8 + X(0) * N(7);
    const T r10 = r9 / r7;
    const T r11 = X(3) - r10 * N(8);
    Y(0) = r1;
    Y(1) = r4;
    Y(2) = r11;)

WHOLE(14, 2, 4, 2, /* Lion */
    const T r0 = N(0) * X(0);
    const T r1 = r0 + X(1) * N(1);
    const T r2 = N(2) * X(0);
    const T r3 = r2 + X(1) * N(3);
    Y(0) = r1;
    Y(1) = r3;)

WHOLE(15, 4, 2, 2, /* Rprop */
    const T r0 = X(0) * X(1);
    const T r1 = r0 >= N(0) || r0 != r0 ? r0 : N(0);
    const T r2 = r1 <= N(1) || r1 != r1 ? r1 : N(1);
    const T r3 = X(2) * r2;
    const T r4 = X(3) - r3;
    Y(0) = r2;
    Y(1) = r4;)

WHOLE(16, 2, 2, 1, /* SGD, weight decay */
    const T r0 = X(1) + X(0) * N(0);
    const T r1 = X(0) - r0 * N(1);
    Y(0) = r1;)

WHOLE(17, 3, 3, 2, /* Momentum, weight decay */
    const T r0 = X(1) + X(0) * N(0);
    const T r1 = r0 + X(2) * N(1);
    const T r2 = X(0) - r1 * N(2);
    Y(0) = r1;
    Y(1) = r2;)

WHOLE(18, 4, 5, 3, /* Adam, weight decay */
    const T r0 = X(1) + X(0) * N(0);
    const T r1 = r0 + X(2) * N(1);
    const T r2 = r0 * r0;
    const T r3 = r2 + X(3) * N(2);
    const T r4 = SQRT(r3);
    const T r5 = r4 + N(3);
    const T r6 = r1 / r5;
    const T r7 = X(0) - r6 * N(4);
    Y(0) = r1;
    Y(1) = r3;
    Y(2) = r7;)
