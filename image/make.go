package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sealbay/image/kernel"
)

// Make builds the box's image into out, and tells the builder on w what goes on.
func Make(ctx context.Context, out string, w io.Writer) error {
	spec, err := Default()
	if err != nil {
		return err
	}
	lock, err := kernel.Pinned()
	if err != nil {
		return err
	}
	return build(ctx, out, spec, FromEnvironment(lock, w))
}

// MakeOldest builds an image of the oldest kernel that the eBPF probes
// promise to work on, with what a test needs there and no more.
func MakeOldest(ctx context.Context, out string, w io.Writer) error {
	lock, err := kernel.Oldest()
	if err != nil {
		return err
	}
	return build(ctx, out, bare(), FromEnvironment(lock, w))
}

func build(ctx context.Context, out string, spec Spec, opt kernel.Options) error {
	if err := ignored(out); err != nil {
		return err
	}
	k, err := kernel.Open(ctx, opt)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	opt.Log("building %s with kernel %s", out, k.Release)
	return Build(ctx, spec, k, out)
}

// FromEnvironment takes the kernel's whereabouts from KERNEL_DEB (or what the
// lock calls it), KERNEL_MIRROR and SEALBAY_CACHE (the user's cache folder if
// unset), and tells the builder on w what goes on.
func FromEnvironment(lock kernel.Lock, w io.Writer) kernel.Options {
	cache := os.Getenv("SEALBAY_CACHE")
	if dir, err := os.UserCacheDir(); cache == "" && err == nil {
		cache = filepath.Join(dir, "sealbay")
	} else if cache == "" {
		cache = filepath.Join(os.TempDir(), "sealbay-cache")
	}
	return kernel.Options{
		Lock: lock, Cache: cache, Deb: os.Getenv(lock.DebVariable()), Mirror: os.Getenv("KERNEL_MIRROR"),
		Log: func(format string, args ...any) { fmt.Fprintf(w, "image: "+format+"\n", args...) },
	}
}

// ignored makes sure that nothing below a folder named out gets into git: the
// top level has no ignore list of its own.
func ignored(dir string) error {
	for ; filepath.Base(dir) != "out"; dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".gitignore"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("*\n")
	return errors.Join(err, f.Close())
}
