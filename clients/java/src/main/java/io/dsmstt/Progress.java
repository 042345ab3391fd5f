package io.dsmstt;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/** What a session's caller has been told, so that a resumed session tells the rest and nothing twice. */
final class Progress {
  /** Audio that a resumed session hears again, so that its model has a context. */
  private static final Duration OVERLAP = Duration.ofSeconds(2);
  /** A word heard again may be so much off: two frames. */
  private static final Duration TOLERANCE = Duration.ofMillis(160);
  /** How far back a turn whose end is not heard yet is looked for. */
  private static final Duration TURN_REACH = Duration.ofSeconds(10);
  /** Resumed sessions begin at a frame's edge, so that the frames are those of the old session. */
  private static final long FRAME_MS = 80;
  private static final int REMEMBERED_WORDS = 64;

  private Cursors cursors = Cursors.START;
  private long words;
  private final ArrayDeque<Duration> starts = new ArrayDeque<>();
  private int turn;
  private boolean turnOpen;
  private Duration turnAt = Duration.ZERO;
  private Duration vad = Duration.ZERO;
  private boolean resumed;
  private Duration from = Duration.ZERO;
  private final List<Duration> echoes = new ArrayList<>();

  Cursors advance(io.dsmstt.speech.v1.Cursors sent) {
    cursors =
        cursors.advance(
            new Cursors(
                Times.of(sent.getReceived()), Times.of(sent.getProcessed()), Times.of(sent.getFinalized())));
    return cursors;
  }

  Cursors cursors() {
    return cursors;
  }

  long words() {
    return words;
  }

  int turn() {
    return turn;
  }

  /** Returns the words of a result that were not told before. */
  List<Word> newWords(List<Word> heard, boolean isFinal) {
    List<Word> fresh = new ArrayList<>();
    for (Word word : heard) {
      if (resumed && told(word.start(), isFinal)) {
        continue;
      }
      fresh.add(word);
      if (isFinal) {
        words++;
        starts.addLast(word.start());
        if (starts.size() > REMEMBERED_WORDS) {
          starts.removeFirst();
        }
      }
    }
    return List.copyOf(fresh);
  }

  /** Says whether a resumed session tells a word that was told. Each old word explains one final word. */
  private boolean told(Duration start, boolean isFinal) {
    for (Iterator<Duration> old = echoes.iterator(); old.hasNext(); ) {
      if (start.minus(old.next()).abs().compareTo(TOLERANCE) <= 0) {
        if (isFinal) {
          old.remove();
        }
        return true;
      }
    }
    return start.compareTo(from) < 0 || (!starts.isEmpty() && start.compareTo(starts.getLast()) < 0);
  }

  /** Says whether a turn event was not told before, and follows the turns. */
  boolean newTurn(Event.Turn event) {
    if (event.kind() == Event.TurnKind.START) {
      if (turnOpen && event.turnIndex() == turn) {
        return false;
      }
      turn = event.turnIndex();
      turnOpen = true;
      turnAt = event.offset();
    } else if (event.kind() == Event.TurnKind.END) {
      turn = event.turnIndex() + 1;
      turnOpen = false;
    }
    return true;
  }

  boolean newVad(Duration offset) {
    if (offset.compareTo(vad) <= 0) {
      return false;
    }
    vad = offset;
    return true;
  }

  /** Returns where the audio begins that a resumed session would need. */
  Duration keepFrom() {
    long ms = wordsFrom().minus(OVERLAP).toMillis();
    return Duration.ofMillis(Math.max(0, ms / FRAME_MS * FRAME_MS));
  }

  /**
   * Returns where the words begin that a resumed session must tell. The last word of a turn under way is told again (and
   * dropped here), without which the service would not know of the turn and not tell its end.
   */
  Duration wordsFrom() {
    Duration begin = cursors.finalized();
    if (turnOpen && !starts.isEmpty()) {
      Duration last = Times.max(Times.max(starts.getLast(), turnAt), begin.minus(TURN_REACH));
      begin = Times.min(begin, last);
    }
    return Times.max(Duration.ZERO, begin.minus(TOLERANCE));
  }

  /** Prepares for a session that tells words again, from {@link #wordsFrom} on. */
  void resume() {
    resumed = true;
    from = Times.max(Duration.ZERO, cursors.finalized().minus(TOLERANCE));
    Duration first = wordsFrom().minusMillis(FRAME_MS);
    echoes.clear();
    starts.stream().filter(start -> start.compareTo(first) >= 0).forEach(echoes::add);
  }
}
