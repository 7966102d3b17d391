// Blockload puts a load on a file or block device through an I/O engine of
// ours and prints a line of JSON for each run, as fio does for one job: what
// scripts/compare-fio holds against fio. With several --stages it lets them
// take turns and prints what each costs over the first. Its reads are not
// verified and its writes destroy what was there; sealbench is the instrument
// for results, this one is for work on the engines.
package main

import (
	"context"
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
	l, code := parse(args, stderr)
	if code >= 0 {
		return code
	}
	if err := l.run(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "blockload:", err)
		return 1
	}
	return 0
}
