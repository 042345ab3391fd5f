package io.dsmstt;

/** Takes what a session tells. Called by one thread at a time; as long as a call takes, nothing more is read. */
@FunctionalInterface
public interface StreamListener {
  /** Takes the next event. */
  void onEvent(Event event);

  /**
   * The session is over, and nothing more comes.
   *
   * @param failure null after {@link Event.Ended}
   */
  default void onClosed(DsmSttException failure) {}
}
