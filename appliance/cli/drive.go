package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sealbay/appliance/rest"
)

func (a *app) driveCommands() []*cobra.Command {
	return []*cobra.Command{
		a.get("drive_list", "List the drives that the node sees or knows", "/v1/drives"),
		a.driveFormat(),
		a.driveForget(),
		a.driveRescueKey(),
		a.driveCryptoErase(),
		a.get("volume_list", "List the open encrypted volumes", "/v1/volumes"),
	}
}

// onDrive makes a command that names one drive.
func (a *app) onDrive(name, short string, run func(context.Context, rest.DriveSelect) error) *cobra.Command {
	var d rest.DriveSelect
	cmd := a.command(name, short, nil)
	cmd.Flags().StringVar(&d.Serial, "serial", "", "the drive's serial `number`, LUKS UUID or path, as drive_list shows it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "serial"); err != nil {
			return err
		}
		return run(cmd.Context(), d)
	}
	return cmd
}

func (a *app) driveFormat() *cobra.Command {
	return a.onDrive("drive_format", "Format a blank drive as an encrypted volume", func(ctx context.Context, d rest.DriveSelect) error {
		var made rest.Drive
		if err := a.call(ctx, "POST", "/v1/drives/format", d, &made); err != nil {
			return err
		}
		return a.ui.json(made)
	})
}

func (a *app) driveForget() *cobra.Command {
	var yes bool
	cmd := a.onDrive("drive_forget", "Give up an absent drive, with the old key kept for it", func(ctx context.Context, d rest.DriveSelect) error {
		if err := a.ui.confirm(yes, "Forget drive "+d.Serial+"? If it returns, only its rescue key or a recovery bundle will open it."); err != nil {
			return err
		}
		return a.call(ctx, "POST", "/v1/drives/forget", d, nil)
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) driveCryptoErase() *cobra.Command {
	var yes bool
	cmd := a.onDrive("drive_crypto_erase", "Destroy every key of a drive, and so all its data", func(ctx context.Context, d rest.DriveSelect) error {
		if err := a.ui.confirm(yes, "Destroy all data on drive "+d.Serial+"?"); err != nil {
			return err
		}
		var receipt rest.EraseReceipt
		if err := a.call(ctx, "POST", "/v1/drives/crypto-erase", d, &receipt); err != nil {
			return err
		}
		return a.ui.json(receipt)
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) driveRescueKey() *cobra.Command {
	var out string
	cmd := a.onDrive("drive_rescue_key", "Write the key with which stock cryptsetup opens one drive", func(ctx context.Context, d rest.DriveSelect) error {
		return a.writeRescueKey(ctx, out, "/v1/drives/rescue-key", d)
	})
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the key to; must not exist")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := require(cmd, "serial", "out"); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

// writeRescueKey asks for a rescue key and puts it into a new file.
func (a *app) writeRescueKey(ctx context.Context, out, path string, request any) error {
	f, err := newSecretFile(out)
	if err != nil {
		return err
	}
	var key rest.RescueKey
	if err := a.call(ctx, "POST", path, request, &key); err != nil {
		return f.abandon(err)
	}
	defer clear(key.Key)
	if err := f.finish(key.Key); err != nil {
		return err
	}
	a.ui.note("Rescue key of drive %s (LUKS UUID %s) written to %s. Whoever holds it opens this drive:\n  cryptsetup open --key-file %s DRIVE NAME", key.Serial, key.UUID, out, out)
	return nil
}

// secretFile is a new file, 0600, that holds key material once it is whole.
type secretFile struct{ f *os.File }

func newSecretFile(path string) (*secretFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return &secretFile{f}, nil
}

func (s *secretFile) finish(b []byte) error {
	if _, err := s.f.Write(b); err != nil {
		return s.abandon(err)
	}
	if err := s.f.Sync(); err != nil {
		return s.abandon(err)
	}
	return s.f.Close()
}

// abandon removes the file and returns err.
func (s *secretFile) abandon(err error) error {
	if closeErr := s.f.Close(); closeErr != nil {
		return fmt.Errorf("%w; and %w", err, closeErr)
	}
	if rmErr := os.Remove(s.f.Name()); rmErr != nil {
		return fmt.Errorf("%w; and %w", err, rmErr)
	}
	return err
}
