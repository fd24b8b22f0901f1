package event

import "time"

// ParseTimestamp reads a time in RFC 3339, such as 2026-11-23T10:00:00.123Z.
// It takes what time.Parse with time.RFC3339 takes, in its canonical form only:
// capital T and Z, two digits each, a point before at most nine decimals.
func ParseTimestamp(b []byte) (time.Time, bool) {
	const layout = "0000-00-00T00:00:00"
	if len(b) < len(layout)+1 {
		return time.Time{}, false
	}
	for i := range len(layout) {
		if c := b[i]; layout[i] == '0' && (c < '0' || c > '9') || layout[i] != '0' && c != layout[i] {
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(b[i]-'0')*10 + int(b[i+1]-'0') }
	year, month, day := two(0)*100+two(2), time.Month(two(5)), two(8)
	hour, minute, second := two(11), two(14), two(17)
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	nanos, rest, ok := parseFraction(b[len(layout):])
	if !ok {
		return time.Time{}, false
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day { // the 31st of a month of 30 days
		return time.Time{}, false
	}
	return t.Add(-offset), true
}

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
	hours, minutes := int(b[1]-'0')*10+int(b[2]-'0'), int(b[4]-'0')*10+int(b[5]-'0')
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}
