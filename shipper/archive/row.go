package archive

import (
	"strconv"
	"time"

	"forebay/shipper/columns"
)

// timeLayout is how ClickHouse writes a DateTime64(3). Times are UTC.
const timeLayout = "2006-01-02 15:04:05.000"

// appendRow adds a row as one line of JSON. Metadata and extra are texts that hold JSON, as in the table:
// a nested object would be read back with another spelling, and rows whose metadata differ in type could
// not be read together.
func appendRow(dst []byte, r *columns.Row) []byte {
	dst = appendText(append(dst, '{'), "project_id", r.ProjectID)
	dst = appendText(append(dst, ','), "session_id", r.SessionID)
	dst = appendText(append(dst, ','), "event_type", r.EventType)
	dst = appendTime(append(dst, ','), "timestamp", r.Timestamp)
	dst = appendTime(append(dst, ','), "received_at", r.ReceivedAt)
	dst = appendText(append(dst, ','), "route", r.Route)
	dst = appendText(append(dst, ','), "target_type", r.TargetType)
	dst = appendText(append(dst, ','), "target_id", r.TargetID)
	dst = appendText(append(dst, ','), "target_selector", r.TargetSelector)
	dst = appendText(append(dst, ','), "target_tag", r.TargetTag)
	dst = appendText(append(dst, ','), "metadata", r.Metadata)
	dst = appendText(append(dst, ','), "environment", r.Environment)
	dst = appendText(append(dst, ','), "idempotency_key", r.IdempotencyKey)
	dst = appendText(append(dst, ','), "sdk_version", r.SDKVersion)
	dst = appendText(append(dst, ','), "app_id", r.AppID)
	dst = appendText(append(dst, ','), "node_id", r.NodeID)
	dst = appendText(append(dst, ','), "log_id", r.LogID.String())
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, r.Seq, 10)
	if r.Extra != "" {
		dst = appendText(append(dst, ','), columns.ExtraName, r.Extra)
	}
	return append(dst, '}', '\n')
}

func appendName(dst []byte, name string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

func appendTime(dst []byte, name string, t time.Time) []byte {
	dst = append(appendName(dst, name), '"')
	return append(t.UTC().AppendFormat(dst, timeLayout), '"')
}

// appendText adds a name and a text, with the few escapes that JSON asks for.
func appendText(dst []byte, name, text string) []byte {
	dst = append(appendName(dst, name), '"')
	plain := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, text[plain:]...)
	return append(dst, '"')
}
