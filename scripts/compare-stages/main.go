// Compare-stages holds what our probes say against tools that we did not
// write, on a new loop device over tmpfs (root):
//
//	go run ./scripts/compare-stages
//	go run ./scripts/compare-stages --rounds 10 --time 3s --engine direct
//
// Stage "device" of the very same I/Os, made by fio: sealbench probe against a
// bpftrace script on block_rq_issue and block_rq_complete. Then a bench run
// with --probes: its stage "device" against bpftrace, which watches the same
// run, and its end-to-end time against fio's clat of the same load, turn by
// turn.
//
// It exits with 1 where bpftrace and ours see a different device.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "compare-stages: %v\n", err)
		return 2
	}
	if err := compare(ctx, o, stdout); err != nil {
		fmt.Fprintf(stderr, "compare-stages: %v\n", err)
		return 1
	}
	return 0
}
