package appliance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sealbay/appliance/rest"
)

const (
	tokensFile = "tokens.json"
	tokenBytes = 32
)

// token is what tokens.json keeps of a remote client's token: its hash, from
// which the token cannot be had back. It is random, so a plain hash will do.
type token struct {
	Name    string    `json:"name"`
	SHA256  string    `json:"sha256"`
	Write   bool      `json:"write"`
	Created time.Time `json:"created"`
}

type tokensConfig struct {
	Version int     `json:"version"`
	Tokens  []token `json:"tokens"`
}

// tokens are those of remote clients.
type tokens struct {
	state *state

	mu  sync.RWMutex // guards all
	all []token
}

func loadTokens(s *state) (*tokens, error) {
	var c tokensConfig
	if ok, err := s.load(tokensFile, &c); err != nil || !ok {
		return &tokens{state: s}, err
	}
	return &tokens{state: s, all: c.Tokens}, s.check(tokensFile, c.Version, true, "", "")
}

func hashToken(t string) string {
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// Holder finds a token by its hash, in constant time for each.
func (t *tokens) Holder(shown string) *rest.Peer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	hash := []byte(hashToken(shown))
	for _, x := range t.all {
		if subtle.ConstantTimeCompare(hash, []byte(x.SHA256)) == 1 {
			return &rest.Peer{Name: "token " + x.Name, Privileges: x.privileges()}
		}
	}
	return nil
}

func (x token) privileges() []rest.Privilege {
	if x.Write {
		return []rest.Privilege{rest.PrivilegeRead, rest.PrivilegeWrite}
	}
	return []rest.Privilege{rest.PrivilegeRead}
}

func (t *tokens) replace(all []token) error {
	if err := t.state.save(tokensFile, tokensConfig{Version: stateVersion, Tokens: all}); err != nil {
		return err
	}
	t.all = all
	return nil
}

// CreateToken makes a token for a remote client and shows it this once.
func (n *Node) CreateToken(_ context.Context, c rest.NewToken) (rest.Token, error) {
	if c.Name == "" || len(c.Name) > 64 || strings.ContainsFunc(c.Name, func(r rune) bool { return r < '!' || r > '~' }) {
		return rest.Token{}, rest.Errorf(http.StatusBadRequest, "name %q: want 1 to 64 printable characters without spaces", c.Name)
	}
	t := n.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.all, func(x token) bool { return x.Name == c.Name }) {
		return rest.Token{}, rest.Errorf(http.StatusConflict, "there is a token named %q already; token_revoke removes it", c.Name)
	}
	raw := make([]byte, tokenBytes)
	rand.Read(raw) // never fails (crypto/rand)
	made := rest.Token{Name: c.Name, Token: base64.RawURLEncoding.EncodeToString(raw)}
	x := token{Name: c.Name, SHA256: hashToken(made.Token), Write: c.Write, Created: time.Now().UTC()}
	return made, t.replace(append(slices.Clone(t.all), x))
}

// RevokeToken makes a token worthless at once.
func (n *Node) RevokeToken(_ context.Context, c rest.TokenSelect) error {
	t := n.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	remaining := slices.DeleteFunc(slices.Clone(t.all), func(x token) bool { return x.Name == c.Name })
	if len(remaining) == len(t.all) {
		return rest.Errorf(http.StatusNotFound, "there is no token named %q; token_list shows them", c.Name)
	}
	return t.replace(remaining)
}

// ListTokens answers token_list.
func (n *Node) ListTokens() rest.TokenList {
	n.tokens.mu.RLock()
	defer n.tokens.mu.RUnlock()
	l := rest.TokenList{Tokens: []rest.TokenInfo{}}
	for _, x := range n.tokens.all {
		l.Tokens = append(l.Tokens, rest.TokenInfo{Name: x.Name, Created: x.Created, Privileges: x.privileges()})
	}
	return l
}
