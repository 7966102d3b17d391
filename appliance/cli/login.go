package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sealbay/appliance/rest"
)

// credential is how a node is known and what lets us in there.
type credential struct {
	Fingerprint string `json:"fingerprint"` // of its certificate
	Token       string `json:"token"`
}

// credentials is the file of --credentials-store: by "host:port".
type credentials map[string]credential

func (a *app) remote() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func (a *app) loadCredentials() (credentials, error) {
	b, err := os.ReadFile(a.store)
	if errors.Is(err, fs.ErrNotExist) {
		return credentials{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--credentials-store: %w", err)
	}
	info, err := os.Stat(a.store)
	if err != nil {
		return nil, fmt.Errorf("--credentials-store: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("--credentials-store: others can read %s; mend it with: chmod 600 %s", a.store, a.store)
	}
	c := credentials{}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("--credentials-store: %s is damaged: remove it and log in again", a.store)
	}
	return c, nil
}

// saveCredentials replaces the file: temporary, fsync, rename.
func (a *app) saveCredentials(c credentials) error {
	b, err := marshal(c)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(a.store), ".sealbay_cred") // made with mode 0600
	if err != nil {
		return fmt.Errorf("--credentials-store: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), a.store)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("--credentials-store: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// client returns the way to the node: over TLS where --host names one.
func (a *app) client() (*rest.Client, error) {
	if a.host == "" {
		return rest.NewUnixClient(a.socket), nil
	}
	c, err := a.loadCredentials()
	if err != nil {
		return nil, err
	}
	known, ok := c[a.remote()]
	if !ok {
		return nil, rest.Errorf(401, "no credentials for %s", a.remote())
	}
	return rest.NewTLSClient(a.remote(), known.Fingerprint, known.Token), nil
}

// call is rest.Client.Call with the node that the flags name.
func (a *app) call(ctx context.Context, method, path string, in, out any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.Call(ctx, method, path, in, out)
}

func (a *app) loginCommands() []*cobra.Command {
	return []*cobra.Command{
		a.loginCommand(),
		a.command("logout", "Forget the token for the node that --host names", a.logout),
		a.tokenCreate(),
		a.tokenRevoke(),
		a.get("token_list", "List the tokens of remote clients", "/v1/session/tokens"),
	}
}

func (a *app) loginCommand() *cobra.Command {
	var fingerprint string
	cmd := a.command("login", "Keep a token for the node that --host names; it is read from standard input", nil)
	cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "the node's certificate `fingerprint`, as its log shows it; asked on a terminal if not given")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if a.host == "" {
			return usage(cmd, "name the node with --host; on the node itself nobody logs in")
		}
		return a.login(cmd.Context(), strings.ToLower(strings.ReplaceAll(fingerprint, ":", "")))
	}
	return cmd
}

func (a *app) login(ctx context.Context, fingerprint string) error {
	if fingerprint == "" {
		shown, err := rest.FingerprintOf(ctx, a.remote())
		if err != nil {
			return err
		}
		if !a.ui.terminal() {
			return fmt.Errorf("%s shows the fingerprint %s; if the node's log says the same, repeat with --fingerprint", a.remote(), shown)
		}
		if err := a.ui.confirm(false, a.remote()+" shows the fingerprint "+shown+". Does the node's log say the same?"); err != nil {
			return err
		}
		fingerprint = shown
	}
	token, err := a.ui.secret("Token: ")
	if err != nil {
		return err
	}
	token = strings.TrimSpace(token)
	var who rest.WhoAmI
	if err := rest.NewTLSClient(a.remote(), fingerprint, token).Call(ctx, "GET", "/v1/session/who-am-i", nil, &who); err != nil {
		return err
	}
	all, err := a.loadCredentials()
	if err != nil {
		return err
	}
	all[a.remote()] = credential{Fingerprint: fingerprint, Token: token}
	return a.saveCredentials(all)
}

func (a *app) logout(context.Context) error {
	if a.host == "" {
		return errors.New("name the node with --host")
	}
	all, err := a.loadCredentials()
	if err != nil {
		return err
	}
	delete(all, a.remote())
	return a.saveCredentials(all)
}

func (a *app) tokenCreate() *cobra.Command {
	var t rest.NewToken
	cmd := a.command("token_create", "Make a token with which a remote client may log in", nil)
	cmd.Flags().StringVar(&t.Name, "name", "", "`name` of the client, for the audit log")
	cmd.Flags().BoolVar(&t.Write, "write", false, "also give "+string(rest.PrivilegeWrite))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "name"); err != nil {
			return err
		}
		var made rest.Token
		if err := a.call(cmd.Context(), "POST", "/v1/session/tokens", t, &made); err != nil {
			return err
		}
		a.ui.note("This is the only time that the token is shown:")
		return a.ui.say("%s", made.Token)
	}
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	var t rest.TokenSelect
	cmd := a.command("token_revoke", "Make a token worthless at once", nil)
	cmd.Flags().StringVar(&t.Name, "name", "", "`name` of the token")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "name"); err != nil {
			return err
		}
		return a.call(cmd.Context(), "POST", "/v1/session/tokens/revoke", t, nil)
	}
	return cmd
}

// secret reads one line, unseen on a terminal.
func (u *ui) secret(prompt string) (string, error) {
	if f, ok := u.in.(*os.File); ok && u.terminal() {
		fmt.Fprint(u.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(u.err)
		return strings.TrimRight(string(b), "\r\n"), err
	}
	line, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("nothing came on standard input")
	}
	return line, nil
}
