package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// place returns the target and what takes it away again.
func place(ctx context.Context, o *options) (string, func() error, error) {
	switch {
	case o.target != "":
		return o.target, func() error { return nil }, nil
	case o.loop:
		return loop(ctx, o)
	}
	path, err := noise(".", o.size)
	if err != nil {
		return "", nil, err
	}
	return path, func() error { return os.Remove(path) }, nil
}

// noise makes a file of random bytes: what is compressible or a hole would
// not be read from the drive.
func noise(dir string, size int64) (path string, err error) {
	f, err := os.CreateTemp(dir, "compare-fio-*.tmp")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	var seed [32]byte
	if _, err := io.CopyN(f, rand.NewChaCha8(seed), size); err != nil {
		return "", fmt.Errorf("filling %s: %w", f.Name(), err)
	}
	return f.Name(), f.Sync()
}

func loop(ctx context.Context, o *options) (string, func() error, error) {
	file, err := noise("/dev/shm", o.size)
	if err != nil {
		return "", nil, err
	}
	out, err := output(ctx, "losetup", "--find", "--show", "--direct-io=on", "--sector-size", "4096", file)
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(file))
	}
	dev := strings.TrimSpace(string(out))
	return dev, func() error {
		// Not ctx: an interrupted run takes its device away too.
		_, err := output(context.WithoutCancel(ctx), "losetup", "--detach", dev)
		return errors.Join(err, os.Remove(file))
	}, nil
}

// describe names what was measured and with what.
func describe(ctx context.Context, target string) string {
	version, err := output(ctx, "fio", "--version")
	if err != nil {
		version = []byte("fio ?")
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("?")
	}
	st, err := os.Stat(target)
	kind := "file"
	if err == nil && st.Mode()&os.ModeDevice != 0 {
		kind = "block device"
	}
	return kind + " " + strconv.Quote(target) + ", kernel " + strings.TrimSpace(string(kernel)) + ", " + strings.TrimSpace(string(version))
}
