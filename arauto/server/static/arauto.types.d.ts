// The types of arauto.js, for `tsc --checkJs` and for pages written in TypeScript. Never sent to a browser.
//
// Without consent nothing is stored, nobody has an id, and events lose what could be personal (`bare`); GPC wins over consent.
// Storage may be missing, full or forbidden: what touches it goes through `kept`.

/** What `POST /v1/decide` answered, and when and for whom. `receipt` is signed; it goes back with every event. */
interface Decision {
  decision: string;
  campaign: string;
  variant: string;
  copy: {title: string; description: string; image_suggestion: string};
  call_to_action: string;
  link: string;
  propensity: number;
  policy_version: number;
  receipt: string;
  simulated: boolean;
  /** Only of one of several candidates: the probability with which it was chosen here. It goes with every event. */
  chance?: number;
  /** Whoever shows it tells its web vitals: those of the page go to another decision. */
  own?: boolean;
  /** Only with consent. */
  visitor?: string;
  /** Unix milliseconds. */
  at: number;
}

/** One event on its way. `id` is a UUIDv7: however often it is sent, it counts once. */
interface Told {
  id: string;
  type: string;
  receipt?: string;
  visitor?: string;
  [field: string]: unknown;
}

/** Facts of an outcome. `campaign` chooses whose variant it is told of; without it, the one shown last. */
interface Facts {
  campaign?: string;
  /** purchase: an amount in units of `currency`. */
  value?: number | string;
  /** purchase: ISO 4217. */
  currency?: string;
  /** purchase: tells orders apart; sent only with consent. */
  order?: string;
  /** rating: 1 to 5. */
  score?: number;
  /** cart, view: what it was; sent only with consent. */
  item?: string;
  /** Any other type: up to 16 scalars; sent only with consent. */
  [prop: string]: string | number | boolean | null | undefined;
}

/** Ask which variant to show. Null when the server is slow (1.5 s) or down, or the campaign is not live. */
type Decide = (campaign: string, choose?: Choose, candidates?: number) => Promise<Decision | null>;
/**
 * Choose between candidates, here: the place of one, and the probability with which it was drawn, which is at least `floor`
 * times its share. `rank` of arauto-edge.js answers so.
 */
type Choose = (candidates: Decision[], even: {shares: number[]; floor: number}) => {pick: number; propensity: number};
/** Put a decision into an element, as text only, and watch it. */
type Render = (slot: HTMLElement, decision: Decision) => void;
/** Count the impression (half visible for a second) and the clicks of a decision that the page rendered itself. */
type Watch = (slot: Element, decision: Decision) => void;
/** Fill the page's `data-arauto` slots that are not filled yet; a page that adds slots later calls it again. */
type Scan = () => void;
/** Tell an outcome: view, cart, purchase, rating, or a custom event of any other name. */
type Track = (type: string, facts?: Facts) => void;
/** What the visitor chose. Remembered, and obeyed in every tab; Global Privacy Control wins over it. */
type Consent = (choice?: 'granted' | 'denied') => void;
/** Erase the visitor from the server and from here. False: the server was not reached, and the next page tries again. */
type Forget = () => Promise<boolean>;
/** Begin by hand, where no script tag has `data-key`. */
type Start = (options: {key?: string; consent?: string}) => void;

// Inside the module.
type Asked = Record<string, ReturnType<Decide>>;
type Kept = <T>(use: (s: Storage) => T) => T | undefined;
type Drop = (name: string) => unknown;
type Bare = (event: Told) => Told;
type Pack = (data: object) => string;
/** What observers have not told yet. */
type Late = (() => void)[];
type Later = (ms: number) => unknown;
type Fill = (root: ParentNode & Node) => void;
type Remember = (decision: Decision) => void;
type Happened = (type: string) => void;
/** Of a page opened in the background, times would measure patience. CLS: the worst window of shifts, 1 s apart at most, 5 s long. */
type Vitals = Record<string, number>;
type Measure = (metrics: string[]) => void;
type Worst = (metric: string, reading: number) => void;
type Load = (name: string) => any;
type Save = (name: string, value: unknown) => string | undefined;
type Recall = () => Decision[];
type Emit = (type: string, facts?: object, of?: Decision) => void;
/** As text, which needs no preflight. */
type Post = (path: string, data: object, ms: number) => Promise<Response>;
type Observe = (type: string, each: (entry: any) => void) => void;

interface Navigator {
  readonly globalPrivacyControl?: boolean;
}

interface PerformanceObserverInit {
  /** Of the entry type `event` (Event Timing). */
  durationThreshold?: number;
}
