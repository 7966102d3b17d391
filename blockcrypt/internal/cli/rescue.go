package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// errTerminal: raw bytes were about to be written to a terminal.
var errTerminal = errors.New("raw bytes do not belong on a terminal")

func rescueKeyCommand(a *app) *cobra.Command {
	var key keyFile
	var out string
	c := &cobra.Command{
		Use: "rescue-key --key-file K DRIVE > RESCUE", Args: onDrive,
		Short: "Make the key file with which cryptsetup opens this drive, and no other",
		RunE: func(_ *cobra.Command, args []string) error {
			return key.with(a, func(kek []byte) error {
				return withDrive(args[0], false, func(d blockdev.Device) error {
					secret, err := blockcrypt.RescueKey(d, kek)
					if err != nil {
						return err
					}
					defer clear(secret)
					return a.save(secret, out)
				})
			})
		},
	}
	key.add(c, "key-file", "a key of the volume")
	outFlag(c, &out)
	return c
}

func outFlag(c *cobra.Command, out *string) {
	c.Flags().StringVarP(out, "out", "o", "", "new file to write to, readable by its owner only; standard output if not given")
}

// save writes b to a new file, durably, or to standard output.
func (a *app) save(b []byte, path string) error {
	if path == "" {
		if terminal(a.stdout) {
			return errTerminal
		}
		_, err := a.stdout.Write(b)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, reason(err))
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

func backupCommand(a *app) *cobra.Command {
	var out string
	var o blockcrypt.BackupOptions
	c := &cobra.Command{
		Use: "backup DRIVE > BACKUP", Short: "Copy the header, to mend it with restore", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			return withDrive(args[0], false, func(d blockdev.Device) error {
				b, err := blockcrypt.BackupHeader(d, o)
				if err != nil {
					return err
				}
				return a.save(b, out)
			})
		},
	}
	outFlag(c, &out)
	c.Flags().BoolVar(&o.Keyslots, "keyslots", false, "with the keyslots, as cryptsetup's header backups: opens the drive for ever under every key it has today")
	return c
}

func restoreCommand(a *app) *cobra.Command {
	var from string
	var o blockcrypt.RestoreOptions
	c := &cobra.Command{
		Use: "restore --from BACKUP DRIVE", Short: "Write a header backup back", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			if from == "" {
				return usage("--from is missing: it names the backup")
			}
			b, err := os.ReadFile(from)
			if err != nil {
				return fmt.Errorf("reading backup %s: %w", from, reason(err))
			}
			return withDrive(args[0], true, func(d blockdev.Device) error {
				if err := blockcrypt.RestoreHeader(d, b, o); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s: header restored; prove it: sealvol open-test\n", args[0])
				return nil
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "the backup")
	c.Flags().BoolVar(&o.Force, "force", false, "also over a newer header, or another drive's")
	return c
}
