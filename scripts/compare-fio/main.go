// Compare-fio holds our plaintext I/O engines against fio on the same file
// or block device: same block size, depth and O_DIRECT, turn by turn in
// random order within each round, and prints both, the CPU time that an
// I/O took, and the ratio of IOPS with a 95 % interval over the rounds.
//
//	go run ./scripts/compare-fio                     # 1 GiB file in this folder
//	go run ./scripts/compare-fio --loop              # loop device over tmpfs (root)
//	go run ./scripts/compare-fio --target F --rounds 20 --jobs 4k-qd1,128k-qd4
//
// A --target that exists is only read, unless --writes is given: then its
// content is destroyed.
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
