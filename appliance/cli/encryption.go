package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sealbay/appliance/rest"
)

func (a *app) encryptionCommands() []*cobra.Command {
	status := a.get("encryption_get_status", "Say whether the data is encrypted and the key store answers", "/v2/encryption/key-store/status")
	status.Aliases = []string{"encryption_status"}
	return []*cobra.Command{
		status,
		a.command("encryption_get_key_store", "Show where the master key comes from", a.getKeyStore),
		a.setKeyStoreCommand(),
		a.rotateCommand(),
		a.replaceCertsCommand(),
		a.command("encryption_rehearse", "Prove, now, that every drive would open after a restart", a.rehearse),
	}
}

// keyStoreView is what encryption_get_key_store prints.
type keyStoreView struct {
	Details any    `json:"config_details"`
	Type    string `json:"config_type"`
}

func (a *app) getKeyStore(ctx context.Context) error {
	var k rest.KeyStore
	if err := a.call(ctx, "GET", "/v2/encryption/key-store", nil, &k); err != nil {
		return err
	}
	view := keyStoreView{Type: k.Type, Details: k.Local}
	if k.KMS != nil {
		view.Details = k.KMS
	}
	return a.ui.json(view)
}

func (a *app) rehearse(ctx context.Context) error {
	var r rest.Rehearsal
	if err := a.call(ctx, "POST", "/v1/encryption/rehearse", nil, &r); err != nil {
		return err
	}
	if err := a.ui.json(r); err != nil {
		return err
	}
	if !r.Passed {
		return fmt.Errorf("a restart now would leave drives locked; see would_open above")
	}
	return nil
}

func (a *app) setKeyStoreCommand() *cobra.Command {
	set := &cobra.Command{
		Use:   "encryption_set_key_store",
		Short: "Choose where the master key comes from: local or kms",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "invalid choice: %q (choose from local, kms)", args[0])
			}
			return usage(cmd, "too few arguments (choose from local, kms)")
		},
	}
	set.AddCommand(
		a.command("local", "Keep the master key in a root-only file on the boot drive", func(ctx context.Context) error {
			return a.call(ctx, "PUT", "/v2/encryption/key-store", rest.SetKeyStore{Type: rest.TypeLocal}, nil)
		}),
		a.setKMSCommand())
	return set
}

func (a *app) setKMSCommand() *cobra.Command {
	var files certFiles
	var host string
	var port int
	var key keyChoice
	cmd := a.command("kms", "Fetch the master key from a KMIP server", nil)
	f := cmd.Flags()
	files.register(cmd)
	f.StringVar(&host, "host-name", "", "the server's `name` or address")
	f.StringVar(&host, "hostname", "", "the same as --host-name")
	f.IntVar(&port, "port", rest.DefaultPort, "the server's `port`")
	key.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "client-cert", "client-private-key", "server-ca-cert", "host-name|hostname"); err != nil {
			return err
		}
		if err := key.check(cmd, true); err != nil {
			return err
		}
		certs, err := files.read()
		if err != nil {
			return err
		}
		return a.setKMS(cmd.Context(), rest.KMSConfig{
			ServerCACert: certs.ServerCACert, ClientCert: certs.ClientCert, ClientPrivateKey: certs.ClientPrivateKey,
			Hostname: host, Port: &port, KeyID: key.id,
		}, key.name)
	}
	return cmd
}

func (a *app) setKMS(ctx context.Context, kms rest.KMSConfig, createName string) error {
	if createName != "" {
		id, err := a.createKey(ctx, &kms, createName)
		if err != nil {
			return err
		}
		kms.KeyID = id
	}
	return a.call(ctx, "PUT", "/v2/encryption/key-store", rest.SetKeyStore{Type: rest.TypeKMS, KMS: &kms}, nil)
}

// createKey has the KMS create and activate a key and says its ID at once: it
// exists from here on, whatever becomes of the rest.
func (a *app) createKey(ctx context.Context, kms *rest.KMSConfig, name string) (string, error) {
	var made rest.CreatedKey
	if err := a.call(ctx, "POST", "/v2/encryption/external-kms/keys/create", rest.CreateKey{KMS: kms, KeyName: name}, &made); err != nil {
		return "", err
	}
	return made.KeyID, a.ui.say("A new KMS key was created with ID %s", made.KeyID)
}

func (a *app) rotateCommand() *cobra.Command {
	var key keyChoice
	cmd := a.command("rotate_encryption_keys", "Replace the master key on every drive", nil)
	key.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := key.check(cmd, false); err != nil {
			return err
		}
		return a.rotate(cmd.Context(), key)
	}
	return cmd
}

func (a *app) rotate(ctx context.Context, key keyChoice) error {
	if key.name != "" {
		id, err := a.createKey(ctx, nil, key.name)
		if err != nil {
			return err
		}
		key.id = id
	}
	if err := a.call(ctx, "POST", "/v2/encryption/rotate-keys", rest.RotateKeys{KeyID: key.id}, nil); err != nil {
		return err
	}
	return a.ui.say("Key rotation complete")
}

func (a *app) replaceCertsCommand() *cobra.Command {
	var files certFiles
	cmd := a.command("kms_replace_certs", "Use new certificates with the KMS, after trying them", nil)
	files.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "client-cert", "client-private-key", "server-ca-cert"); err != nil {
			return err
		}
		certs, err := files.read()
		if err != nil {
			return err
		}
		return a.call(cmd.Context(), "POST", "/v1/encryption/kms-certs", certs, nil)
	}
	return cmd
}

// certFiles are the paths of the three PEM files of a KMS client.
type certFiles struct{ cert, key, ca string }

func (c *certFiles) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.cert, "client-cert", "", "PEM `file` of the client's certificate")
	f.StringVar(&c.key, "client-private-key", "", "PEM `file` of the client's private key")
	f.StringVar(&c.ca, "server-ca-cert", "", "PEM `file` of the authority that signed the server's certificate")
}

func (c *certFiles) read() (certs rest.KMSCerts, err error) {
	for _, f := range []struct {
		flag, path string
		to         *string
	}{
		{"--client-cert", c.cert, &certs.ClientCert},
		{"--client-private-key", c.key, &certs.ClientPrivateKey},
		{"--server-ca-cert", c.ca, &certs.ServerCACert},
	} {
		b, err := os.ReadFile(f.path)
		if err != nil {
			return certs, fmt.Errorf("%s: %w", f.flag, err)
		}
		if len(b) == 0 {
			return certs, fmt.Errorf("%s: %s is empty", f.flag, f.path)
		}
		*f.to = string(b)
	}
	return certs, nil
}
