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
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type options struct {
	rounds int
	time   time.Duration
	engine string
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var o options
	f := flag.NewFlagSet("compare-stages", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 5, "turns of the bench and fio")
	f.DurationVar(&o.time, "time", 2*time.Second, "time of one run, whole seconds")
	f.StringVar(&o.engine, "engine", "io_uring", "io_uring or direct, whose peer in fio is psync")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case err == nil && (o.rounds < 1 || o.time < time.Second || o.time%time.Second != 0):
		err = errors.New("--rounds must be at least 1, --time whole seconds")
	case err == nil && o.engine != "io_uring" && o.engine != "direct":
		err = fmt.Errorf("--engine %q: want io_uring or direct", o.engine)
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
