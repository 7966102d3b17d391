// Compare-openssl holds our AES-XTS against this machine's `openssl speed
// -evp`, turn by turn in random order within each round, and prints the
// medians and the ratio of medians with the spread of the ratios.
//
//	go run ./scripts/compare-openssl                  # AES-256, about two minutes
//	go run ./scripts/compare-openssl --bits 128,256 --rounds 15
//
// openssl speed encrypts one buffer of the given size a call, which stays in
// the first-level cache, and counts the processor time of the user. Ours is
// shown twice: one sector a call, the same task; and a batch of 128 KiB a call,
// which is how a volume calls it.
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
	o, code := parse(args, stderr)
	if code >= 0 {
		return code
	}
	return exit(compare(ctx, o, stdout), stderr)
}
