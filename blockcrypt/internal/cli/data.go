package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// chunk is how much read and write move at once; bytes, whole sectors.
const chunk = 1 << 20

func readCommand(a *app) *cobra.Command {
	var key keyFile
	var foreign bool
	var offset, length size
	c := &cobra.Command{
		Use: "read --key-file K DRIVE > DATA", Short: "Copy decrypted data to standard output", Args: onDrive,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withVolume(&key, args[0], false, foreign, func(v *blockcrypt.Volume) error {
				return a.read(c.Context(), v, int64(offset), int64(length))
			})
		},
	}
	key.add(c, "key-file", "a key of the volume")
	foreignFlag(c, &foreign)
	c.Flags().Var(&offset, "offset", "where to start in the volume")
	c.Flags().Var(&length, "length", "how much; 0 reads to the end")
	return c
}

func writeCommand(a *app) *cobra.Command {
	var key keyFile
	var foreign bool
	var offset size
	c := &cobra.Command{
		Use: "write --key-file K DRIVE < DATA", Short: "Encrypt standard input onto the volume", Args: onDrive,
		RunE: func(c *cobra.Command, args []string) error {
			if key.path == "-" {
				return usage("--key-file - and the data cannot both be standard input")
			}
			return a.withVolume(&key, args[0], true, foreign, func(v *blockcrypt.Volume) error {
				return a.write(c.Context(), v, int64(offset))
			})
		},
	}
	key.add(c, "key-file", "a key of the volume")
	foreignFlag(c, &foreign)
	c.Flags().Var(&offset, "offset", "where to start in the volume")
	return c
}

func (a *app) withVolume(key *keyFile, path string, write, foreign bool, do func(*blockcrypt.Volume) error) error {
	return key.with(a, func(kek []byte) error {
		return withDrive(path, write, func(d blockdev.Device) error {
			v, err := blockcrypt.Open(d, kek, blockcrypt.OpenOptions{AllowForeignLUKS2: foreign})
			if err != nil {
				return err
			}
			sum := v.Summary()
			if err := sum.Degraded(); err != nil {
				fmt.Fprintf(a.stderr, "sealvol: warning: %s: %v; mend it: sealvol repair\n", path, err)
			}
			return errors.Join(do(v), v.Close())
		})
	})
}

// errPastEnd: the range does not lie in the volume.
var errPastEnd = errors.New("past the end of the volume")

func (a *app) read(ctx context.Context, v *blockcrypt.Volume, off, n int64) error {
	end := v.Info().Size
	if off > end || n > end-off {
		return fmt.Errorf("reading %s: %w of %d bytes", v.Info().Path, errPastEnd, end)
	}
	if n > 0 {
		end = off + n
	}
	buf := make([]byte, chunk)
	for off < end && ctx.Err() == nil {
		start := off - off%blockcrypt.SectorSize
		part := buf[:min(chunk, roundUp(end-start))]
		if _, err := v.ReadAt(part, start); err != nil {
			return err
		}
		part = part[off-start : min(int64(len(part)), end-start)]
		if _, err := a.stdout.Write(part); err != nil {
			return fmt.Errorf("writing to standard output: %w", err)
		}
		off += int64(len(part))
	}
	if off < end {
		return fmt.Errorf("reading %s: interrupted at byte %d", v.Info().Path, off)
	}
	return nil
}

func roundUp(n int64) int64 {
	return (n + blockcrypt.SectorSize - 1) / blockcrypt.SectorSize * blockcrypt.SectorSize
}

// write stores standard input from byte off on, reading the rest of sectors
// that it covers in part, and flushes.
func (a *app) write(ctx context.Context, v *blockcrypt.Volume, off int64) error {
	first := off
	in := make([]byte, chunk)
	for more := true; more && ctx.Err() == nil; {
		n, err := io.ReadFull(a.stdin, in[:chunk-off%blockcrypt.SectorSize])
		if more = err == nil; !more && err != io.EOF && err != io.ErrUnexpectedEOF {
			return fmt.Errorf("reading standard input: %w", err)
		}
		if err := patch(v, in[:n], off); err != nil {
			return fmt.Errorf("%w; %d bytes before it were written", err, off-first)
		}
		off += int64(n)
	}
	if err := v.Flush(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("writing %s: interrupted after %d bytes", v.Info().Path, off-first)
	}
	fmt.Fprintf(a.stdout, "%s: wrote %d bytes at byte %d of the volume\n", v.Info().Path, off-first, first)
	return nil
}

// patch writes p at off, whatever its alignment.
func patch(v *blockcrypt.Volume, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if off > v.Info().Size-int64(len(p)) {
		return fmt.Errorf("writing %s: %w of %d bytes", v.Info().Path, errPastEnd, v.Info().Size)
	}
	start := off - off%blockcrypt.SectorSize
	buf := make([]byte, roundUp(off-start+int64(len(p))))
	last := int64(len(buf)) - blockcrypt.SectorSize
	for _, at := range []int64{0, last} {
		if _, err := v.ReadAt(buf[at:at+blockcrypt.SectorSize], start+at); err != nil {
			return err
		}
	}
	copy(buf[off-start:], p)
	_, err := v.WriteAt(buf, start)
	return err
}
