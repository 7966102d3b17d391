package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// resolve returns the package to fetch: the pinned one, or the newest of its series
// in apt's signed index when the archive no longer has that.
func resolve(ctx context.Context, opt Options) (Lock, error) {
	if opt.Mirror != "" || aptHas(ctx, opt.Lock) {
		return opt.Lock, nil
	}
	newest, err := aptNewest(ctx, opt.Lock.Series())
	if err != nil {
		return Lock{}, fmt.Errorf("%s %s: %w (or set %s=path or KERNEL_MIRROR=url)", opt.Lock.Package, opt.Lock.Version, err, opt.Lock.DebVariable())
	}
	opt.Log("%s %s is gone from the archive: using %s %s of apt's signed index instead; image/kernel/%s wants an update",
		opt.Lock.Package, opt.Lock.Version, newest.Package, newest.Version, opt.Lock.File)
	return newest, nil
}

// fetch downloads the package into dir and verifies it.
func fetch(ctx context.Context, opt Options, want Lock, dir string) (string, error) {
	if opt.Mirror != "" {
		opt.Log("fetching %s %s from KERNEL_MIRROR", want.Package, want.Version)
		return fromMirror(ctx, opt.Mirror, want, dir)
	}
	opt.Log("fetching %s %s with apt (%d MiB)", want.Package, want.Version, want.Size>>20)
	return aptDownload(ctx, want, dir)
}

// fromMirror gets the package over HTTP. What the mirror says is not trusted:
// size and sha256 decide.
func fromMirror(ctx context.Context, mirror string, l Lock, dir string) (string, error) {
	from, err := url.JoinPath(mirror, l.Path)
	if err != nil {
		return "", fmt.Errorf("KERNEL_MIRROR=%q: %w", mirror, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return "", fmt.Errorf("KERNEL_MIRROR=%q: %w", mirror, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", from, resp.Status)
	}
	deb := filepath.Join(dir, filepath.Base(l.Path))
	f, err := os.Create(deb)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, io.LimitReader(resp.Body, l.Size+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	return deb, verify(deb, l)
}

// verify holds a downloaded package against its lock.
func verify(deb string, l Lock) error {
	info, err := os.Stat(deb)
	if err != nil {
		return err
	}
	sum, err := fileSHA256(deb)
	if err != nil {
		return err
	}
	if info.Size() != l.Size || !strings.EqualFold(sum, l.SHA256) {
		return fmt.Errorf("%s: %d bytes with sha256 %s, wanted %d bytes with %s", filepath.Base(deb), info.Size(), sum, l.Size, l.SHA256)
	}
	return nil
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
