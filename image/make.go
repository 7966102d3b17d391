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

// Make builds the default image into out with the kernel that opt asks for.
func Make(ctx context.Context, out string, opt kernel.Options) error {
	if err := ignored(out); err != nil {
		return err
	}
	spec, err := Default()
	if err != nil {
		return err
	}
	if opt.Lock, err = kernel.Pinned(); err != nil {
		return err
	}
	k, err := kernel.Open(ctx, opt)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	opt.Log("building %s with kernel %s", out, k.Release)
	return Build(ctx, spec, k, out)
}

// FromEnvironment takes the kernel's whereabouts from KERNEL_DEB,
// KERNEL_MIRROR and SEALBAY_CACHE (the user's cache folder if unset), and
// tells the builder on w what goes on.
func FromEnvironment(w io.Writer) kernel.Options {
	cache := os.Getenv("SEALBAY_CACHE")
	if dir, err := os.UserCacheDir(); cache == "" && err == nil {
		cache = filepath.Join(dir, "sealbay")
	} else if cache == "" {
		cache = filepath.Join(os.TempDir(), "sealbay-cache")
	}
	return kernel.Options{
		Cache: cache, Deb: os.Getenv("KERNEL_DEB"), Mirror: os.Getenv("KERNEL_MIRROR"),
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
