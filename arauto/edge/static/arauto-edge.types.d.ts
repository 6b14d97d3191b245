// The types of arauto-edge.js and arauto-edge-core.js, for `tsc --checkJs` and pages written in TypeScript. Never sent to a browser.
//
// What a visitor writes, and what is inferred of it, is in the memory of the page: no function here sends or stores it.

/** The part of a model's manifest that is read here; arauto/edge/model.py has the whole. */
interface EdgeManifest {
  format: number;
  name: string;
  version: string;
  languages: string[];
  labels: string[];
  features: EdgeFeatures;
  rows_log2: number;
  dim: number;
  bits: number;
  levels: number[][];
  head: number[][];
  bias: number[];
  unsure: number;
}
interface EdgeFeatures {
  words: number;
  chars: number[];
  negators: string[];
  scope: number;
}
/** `label` null: "don't know". `shares` are of 65536, `logits` in 1/256 bit, by class. */
interface EdgePrediction {
  label: string | null;
  logits: number[];
  shares: number[];
  n: number;
}
/** What the page knows of its visitor: the mood of what was written last, a running mean of what was looked at, how often. */
interface Known {
  mood: string | null;
  vector: number[];
  seen: number;
}
/** What can be offered: `vector` is matched with the visitor's, `weights` with the context, `prior` is added. */
interface EdgeOffer {
  vector?: number[];
  weights?: number[];
  prior?: number;
}

/** The reader of texts: calls `each` with every hashed feature of a text, 32 bits (the lowest name a row). */
type Hasher = (features: EdgeFeatures) => (text: string, each: (hash: number) => void) => void;
/** Shares of 65536 for logits in 1/256 bit. */
type Soften = (logits: number[]) => number[];
/** Read a model file. Throws when it is none, or of another format. */
type Open = (file: ArrayBuffer) => {manifest: EdgeManifest; predict: (text: string) => EdgePrediction};

/** What the model says of a text; null without consent, without a model, or when it takes longer than `ms`. */
type Predict = (text: string, ms?: number) => Promise<EdgePrediction | null>;
/** How many predictions were answered and how many came too late, and quantiles of their times in ms. Nothing of the texts. */
type Effort = () => {predictions: number; late: number; p50?: number; p95?: number};
/** Adapt the greetings to what is written into this field from now on. Fields with `data-arauto-listen` are found by themselves. */
type Listen = (field: Element) => void;
/** The visitor looked at something with this vector. */
type Browse = (vector: number[]) => void;
/**
 * Choose one offer by a softmax over scores, mixed with a draw by `shares` (even) of weight `floor`. `propensity` is the probability with
 * which this pick was drawn; the scores themselves stay here.
 */
type Rank = (
  offers: EdgeOffer[],
  options?: {context?: number[]; warmth?: number; floor?: number; shares?: number[]},
) => {pick: number; propensity: number; shares: number[]};
/** Yes or no. No, or Global Privacy Control, ends the model and forgets what was inferred. */
type Choose = (said: Choice) => void;
/** Whether a TCF 2.3 string has its segment of disclosed vendors, and this vendor in it. */
type Disclosed = (string: string, vendor?: number) => boolean;
/** Whether a consent platform's answer allows personalised content (purposes 1, 5, 6), and this vendor where one is named. */
type Agreed = (data: TcData, vendor?: number) => boolean;

// Inside the modules.
type Choice = 'granted' | 'denied' | undefined;
type Run = (text: string) => Promise<EdgePrediction | null>;
type Fetch = (url: string) => Promise<ArrayBuffer>;
type Hire = (url: string) => Promise<{send: (message: object) => Promise<any>; end: () => void}>;
type Within = <T>(ms: number, promise: Promise<T>) => Promise<T | null>;

interface TcData {
  gdprApplies?: boolean;
  tcString?: string;
  eventStatus?: string;
  purpose?: {consents?: Record<number, boolean>};
  vendor?: {consents?: Record<number, boolean>};
}
interface Window {
  dataLayer?: unknown[];
  __tcfapi?: (command: string, version: number, told: (data: TcData, ok: boolean) => void) => void;
}
interface Navigator {
  readonly globalPrivacyControl?: boolean;
}

// Inside arauto-edge-peers.js.
type Rows = (manifest: EdgeManifest) => (text: string) => number[];
type Peer = {manifest: EdgeManifest; predict: (text: string) => Promise<Omit<EdgePrediction, 'logits'>>};
type Judge = (shares: number[], n: number, manifest: EdgeManifest) => Omit<EdgePrediction, 'logits'>;
type WithTf = (tf: any, loadGraphModel: (url: string) => Promise<any>, url: string) => Promise<Peer>;
type WithOrt = (ort: any, url: string | ArrayBuffer, manifest: EdgeManifest) => Promise<Peer>;

// Inside arauto-edge-release.js.
type Shown = (slot: Element) => Promise<unknown>;
