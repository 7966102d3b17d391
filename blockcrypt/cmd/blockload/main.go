// Blockload puts one load on a file or block device through an I/O engine of
// ours and prints one line of JSON, as fio does for one job: what
// scripts/compare-fio holds against fio. Its reads are not verified and its
// writes destroy what was there; sealbench is the instrument for results.
package main

import (
	"context"
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
	return report(l.run(ctx))(stdout, stderr)
}
