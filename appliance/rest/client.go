package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const dialTimeout = 5 * time.Second

// ErrConnect is what a Client returns, wrapped, when nobody answers.
var ErrConnect = errors.New("no answer")

// Client talks to a node.
type Client struct {
	http   http.Client
	base   string
	target string // for messages
	token  string
}

// NewUnixClient makes a client of the daemon behind the Unix socket at path.
func NewUnixClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, base: "http://sealbay", target: path}
}

// NewTLSClient makes a client of the node at addr (host:port) that shows token.
// The node is known by the SHA-256 fingerprint of its certificate, in
// hexadecimal; ErrFingerprint if it shows another.
func NewTLSClient(addr, fingerprint, token string) *Client {
	transport := &http.Transport{
		DialContext:       (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:   pinned(fingerprint),
		DisableKeepAlives: true,
	}
	return &Client{http: http.Client{Transport: transport}, base: "https://" + addr, target: addr, token: token}
}

// Call sends in (nil for no body) and decodes the answer into out (nil to
// drop it). An answer that is not a success is an *Error; a node that does not
// answer gives an error that wraps ErrConnect.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, ErrFingerprint) {
			return fmt.Errorf("%s: %w", c.target, ErrFingerprint)
		}
		return fmt.Errorf("%w: %s: %w", ErrConnect, c.target, cause(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%w: %s: reading the answer: %w", ErrConnect, c.target, err)
	}
	if resp.StatusCode/100 != 2 {
		return answerError(resp, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not understood: %w", method, path, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err == nil && c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if err == nil && in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// cause strips net/http's own prefix, which repeats method and address.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

func answerError(resp *http.Response, body []byte) error {
	e := &Error{}
	if err := json.Unmarshal(body, e); err != nil || e.Class == "" {
		return Errorf(resp.StatusCode, "%s", bytes.TrimSpace(body))
	}
	e.Code = resp.StatusCode
	return e
}
