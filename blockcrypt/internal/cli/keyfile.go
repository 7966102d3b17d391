package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/internal/locked"
)

// errKeyFile: a key file that does not hold exactly one key.
var errKeyFile = errors.New("not a key")

// keyFile is a flag that names a file with a raw key.
type keyFile struct{ name, path string }

func (k *keyFile) add(c *cobra.Command, name, what string) {
	k.name = name
	c.Flags().StringVar(&k.path, name, "", what+`: file of 32 raw bytes, "-" for standard input`)
}

// with reads the key into locked memory, runs do and wipes it.
func (k *keyFile) with(a *app, do func(kek []byte) error) error {
	if k.path == "" {
		return usage("--%s is missing: it names the file with the key", k.name)
	}
	key, err := k.read(a)
	if err != nil {
		return fmt.Errorf("reading key file %s: %w", k.path, err)
	}
	defer key.Close()
	return do(key.Bytes()[:blockcrypt.KEKSize])
}

func (k *keyFile) read(a *app) (*locked.Bytes, error) {
	from := a.stdin
	if k.path != "-" {
		f, err := os.Open(k.path)
		if err != nil {
			return nil, reason(err)
		}
		defer f.Close() // only read
		from = f
	}
	// One byte more than a key shows that there is more.
	key, err := locked.New(blockcrypt.KEKSize + 1)
	if err != nil {
		return nil, err
	}
	switch n, err := io.ReadFull(from, key.Bytes()); {
	case err == nil:
		key.Close()
		return nil, fmt.Errorf("%w: it holds more than %d bytes, want exactly that many", errKeyFile, blockcrypt.KEKSize)
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		key.Close()
		return nil, reason(err)
	case n != blockcrypt.KEKSize:
		key.Close()
		return nil, fmt.Errorf("%w: it holds %d bytes, want %d", errKeyFile, n, blockcrypt.KEKSize)
	}
	return key, nil
}

// withTwo is with for two keys, of which one at most comes from stdin.
func withTwo(a *app, one, two *keyFile, do func(kek, kek2 []byte) error) error {
	if one.path == "-" && two.path == "-" {
		return usage("--%s and --%s cannot both be standard input", one.name, two.name)
	}
	return one.with(a, func(kek []byte) error {
		return two.with(a, func(kek2 []byte) error { return do(kek, kek2) })
	})
}
