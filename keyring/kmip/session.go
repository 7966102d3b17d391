package kmip

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/payloads"
	"github.com/ovh/kmip-go/ttlv"

	"sealbay/keyring"
)

// A session is one TLS connection to the server, used for one errand and
// closed. It takes messages and codec from kmip-go but not its client, which
// decodes on a goroutine of its own, where its decoder's panic on a malformed
// answer would end the daemon; which takes answers of any length; and whose
// receive buffers, with the key in them, nobody could wipe.
type session struct {
	conn    *tls.Conn
	buf     *keyring.Buffer // answers; a key passes through here
	version kmip.ProtocolVersion
	stop    func() bool // ends the watch over the context
}

const (
	respTag    = 0x42007B // KMIP 1.4 9.1.3.1: Response Message
	headerSize = 8        // KMIP 1.4 9.1.1: tag, type, length
	maxMessage = 64 << 10
)

var (
	errNotKMIP   = errors.New("the answer is not KMIP")
	errMalformed = errors.New("the answer is malformed KMIP")
	versions     = []kmip.ProtocolVersion{kmip.V1_4, kmip.V1_3, kmip.V1_2, kmip.V1_1, kmip.V1_0}
)

// resultError is the server's refusal of one operation.
type resultError struct {
	op     kmip.Operation
	reason kmip.ResultReason
	text   string
}

func (e *resultError) Error() string {
	return fmt.Sprintf("%s: %s: %s", ttlv.EnumStr(e.op), ttlv.EnumStr(e.reason), e.text)
}

// dial connects, shakes hands and agrees on a protocol version. Everything
// that the session does ends with ctx, which must have a deadline.
func dial(ctx context.Context, addr string, cfg *tls.Config) (*session, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	buf, err := keyring.NewBuffer(maxMessage)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	s := &session{conn: tls.Client(raw, cfg), buf: buf}
	deadline, _ := ctx.Deadline()
	err = raw.SetDeadline(deadline)
	s.stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) }) // cancelled: fail what waits
	if err == nil {
		err = s.conn.HandshakeContext(ctx)
	}
	if err == nil {
		err = s.negotiate()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close drops the connection without ceremony: the errand is over, and what
// the server thinks of the ending changes nothing.
func (s *session) close() {
	s.stop()
	_ = s.conn.NetConn().Close()
	_ = s.buf.Close()
}

// negotiate picks the newest version that both sides know. Discover Versions
// came with KMIP 1.1: a server that refuses it is taken for 1.0.
func (s *session) negotiate() error {
	s.version = kmip.V1_1
	resp, err := do[*payloads.DiscoverVersionsResponsePayload](s, &payloads.DiscoverVersionsRequestPayload{ProtocolVersion: versions})
	var refused *resultError
	if errors.As(err, &refused) && refused.reason != kmip.ResultReasonAuthenticationNotSuccessful && refused.reason != kmip.ResultReasonPermissionDenied {
		s.version = kmip.V1_0
		return nil
	}
	if err != nil {
		return err
	}
	for _, v := range versions {
		if slices.Contains(resp.ProtocolVersion, v) {
			s.version = v
			return nil
		}
	}
	return fmt.Errorf("%w: the server speaks none of KMIP 1.0 to 1.4 but %v", errNotKMIP, resp.ProtocolVersion)
}

// do carries out one operation and returns its answer's payload.
func do[Resp kmip.OperationPayload](s *session, req kmip.OperationPayload) (Resp, error) {
	var none Resp
	msg := kmip.NewRequestMessage(s.version, req)
	if _, err := s.conn.Write(ttlv.MarshalTTLV(msg)); err != nil {
		return none, err
	}
	n, err := s.receive()
	if err != nil {
		return none, err
	}
	answer, err := decode(s.buf.Bytes()[:n])
	clear(s.buf.Bytes()[:n])
	if err != nil {
		return none, err
	}
	if len(answer.BatchItem) != 1 {
		return none, fmt.Errorf("%w: %d batch items for one request", errMalformed, len(answer.BatchItem))
	}
	item := &answer.BatchItem[0]
	if item.ResultStatus != kmip.ResultStatusSuccess {
		return none, &resultError{req.Operation(), item.ResultReason, printable(item.ResultMessage)}
	}
	resp, ok := item.ResponsePayload.(Resp)
	if !ok {
		return none, fmt.Errorf("%w: no payload for %s", errMalformed, ttlv.EnumStr(req.Operation()))
	}
	return resp, nil
}

// receive reads one message into s.buf and returns its length.
func (s *session) receive() (int, error) {
	buf := s.buf.Bytes()
	if _, err := io.ReadFull(s.conn, buf[:headerSize]); err != nil {
		return 0, err
	}
	if binary.BigEndian.Uint32(buf) != respTag<<8|uint32(ttlv.TypeStructure) {
		return 0, errNotKMIP
	}
	n := headerSize + int64(binary.BigEndian.Uint32(buf[4:]))
	if n > int64(len(buf)) {
		return 0, fmt.Errorf("%w: it is said to have %d bytes", errMalformed, n)
	}
	if _, err := io.ReadFull(s.conn, buf[headerSize:n]); err != nil {
		return 0, err
	}
	return int(n), nil
}

// decode decodes an answer. The decoder panics on some malformed ones, with
// texts that may quote what it read: neither leaves this function.
func decode(b []byte) (msg *kmip.ResponseMessage, err error) {
	defer func() {
		if recover() != nil {
			msg, err = nil, errMalformed
		}
	}()
	msg = new(kmip.ResponseMessage)
	if ttlv.UnmarshalTTLV(b, msg) != nil {
		return nil, errMalformed
	}
	return msg, nil
}

// printable makes of a server's text one short line.
func printable(s string) string {
	line := []rune(s)
	for i, r := range line {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			line[i] = ' '
		}
	}
	if len(line) > 200 {
		line = append(line[:200], '…')
	}
	return string(line)
}
