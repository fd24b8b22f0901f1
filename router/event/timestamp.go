package event

import "time"

// minuteLayout is how a timestamp starts, up to its seconds.
const minuteLayout = "0000-00-00T00:00:"

// ParseTimestamp reads a time in RFC 3339, such as 2026-11-23T10:00:00.123Z.
// It takes what time.Parse with time.RFC3339 takes, in its canonical form only:
// capital T and Z, two digits each, a point before at most nine decimals. A leap
// second, which RFC 3339 has, is not taken: no column holds it.
func ParseTimestamp(b []byte) (time.Time, bool) {
	var m minute
	return m.parse(b)
}

// minute is the last minute that a timestamp was in. Most of the next are in the
// same one, and the calendar is what costs most of reading a time.
type minute struct {
	text  [len(minuteLayout)]byte
	start time.Time // what text says, before the offset is taken off; zero: not known
}

// parse is ParseTimestamp.
func (m *minute) parse(b []byte) (time.Time, bool) {
	if len(b) < len(minuteLayout)+3 {
		return time.Time{}, false
	}
	head, rest := b[:len(minuteLayout)], b[len(minuteLayout):]
	if m.start.IsZero() || string(head) != string(m.text[:]) {
		start, ok := parseMinute(head)
		if !ok {
			return time.Time{}, false
		}
		m.start = start
		copy(m.text[:], head)
	}
	if rest[0] < '0' || rest[0] > '5' || rest[1] < '0' || rest[1] > '9' {
		return time.Time{}, false
	}
	nanos, zone, ok := parseFraction(rest[2:])
	if !ok {
		return time.Time{}, false
	}
	offset, ok := parseOffset(zone)
	if !ok {
		return time.Time{}, false
	}
	return m.start.Add(time.Duration(two(rest))*time.Second + time.Duration(nanos) - offset), true
}

// parseMinute reads what is laid out as minuteLayout.
func parseMinute(b []byte) (time.Time, bool) {
	for i := range len(minuteLayout) {
		if c := b[i]; minuteLayout[i] == '0' && (c < '0' || c > '9') || minuteLayout[i] != '0' && c != minuteLayout[i] {
			return time.Time{}, false
		}
	}
	year, month, day := two(b)*100+two(b[2:]), time.Month(two(b[5:])), two(b[8:])
	hour, minute := two(b[11:]), two(b[14:])
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
	return t, t.Day() == day // else it is the 31st of a month of 30 days
}

// two reads the two digits that b starts with.
func two(b []byte) int { return int(b[0]-'0')*10 + int(b[1]-'0') }

// parseFraction reads the decimals of a second, if there are any.
func parseFraction(b []byte) (nanos int, rest []byte, ok bool) {
	if b[0] != '.' {
		return 0, b, true
	}
	i := 1
	for scale := 100_000_000; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		nanos += int(b[i]-'0') * scale
		scale /= 10
	}
	return nanos, b[i:], i > 1 && i <= 10
}

// parseOffset reads Z or an offset such as +01:30.
func parseOffset(b []byte) (time.Duration, bool) {
	if len(b) == 1 && b[0] == 'Z' {
		return 0, true
	}
	if len(b) != 6 || (b[0] != '+' && b[0] != '-') || b[3] != ':' {
		return 0, false
	}
	for _, i := range []int{1, 2, 4, 5} {
		if b[i] < '0' || b[i] > '9' {
			return 0, false
		}
	}
	hours, minutes := two(b[1:]), two(b[4:])
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}
