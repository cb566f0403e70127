/* Time of one MPI_Allreduce of N floats: the median of many in ms, at rank 0.
 *
 *     mpicc -O2 benches/ranks/allreduce.c -o target/allreduce && mpirun -n 2 target/allreduce 1700000
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARM = 5, TURNS = 51 };

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int count = argc > 1 ? atoi(argv[1]) : 1, rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    float *own = calloc(count, sizeof *own), *sum = calloc(count, sizeof *sum);
    double times[TURNS];
    for (int turn = -WARM; turn < TURNS; turn++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double began = MPI_Wtime();
        MPI_Allreduce(own, sum, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (turn >= 0) times[turn] = MPI_Wtime() - began;
    }
    qsort(times, TURNS, sizeof *times, by_size);
    if (rank == 0) printf("%.3f\n", times[TURNS / 2] * 1e3);
    free(own);
    free(sum);
    return MPI_Finalize();
}
