import { NodeApiError } from 'n8n-workflow';
import type {
  IDataObject,
  IExecuteFunctions,
  IHookFunctions,
  IHttpRequestOptions,
  IN8nHttpFullResponse,
} from 'n8n-workflow';
import type { ApiAnswer, ApiRequest } from '../shared/api-request';
import { problemOf } from '../shared/problem';

/** Name of the credential that all nodes use. */
export const CREDENTIAL = 'opencrowWorkloaddApi';

/** Sends a request with the node's credential. Resolves for every status; rejects when there was no answer. */
export async function send(
  this: IExecuteFunctions | IHookFunctions,
  request: ApiRequest,
  itemIndex = 0,
): Promise<ApiAnswer> {
  const { baseUrl } = await this.getCredentials<{ baseUrl: string }>(CREDENTIAL, itemIndex);
  const options: IHttpRequestOptions = {
    method: request.method,
    url: `${baseUrl.replace(/\/+$/, '')}${request.path}`,
    json: true,
    returnFullResponse: true,
    ignoreHttpStatusErrors: true,
    disableFollowRedirect: true,
    timeout: 30_000,
    ...(request.query && { qs: request.query as IDataObject }),
    ...(request.headers && { headers: request.headers as IDataObject }),
    ...(request.body && { body: request.body as IDataObject }),
  };
  const answer = (await this.helpers.httpRequestWithAuthentication.call(
    this,
    CREDENTIAL,
    options,
  )) as IN8nHttpFullResponse;
  return { status: answer.statusCode, headers: answer.headers, body: answer.body };
}

/** The error of an answer that is none of what was hoped for. */
export function errorOf(this: IExecuteFunctions | IHookFunctions, answer: ApiAnswer, itemIndex?: number): NodeApiError {
  const { message, description, httpCode } = problemOf(answer);
  return new NodeApiError(
    this.getNode(),
    { message, description, httpCode },
    { message, description, httpCode, ...(itemIndex === undefined ? {} : { itemIndex }) },
  );
}

/** Sends a request and gives the answer's body; another status than 2xx is an error. */
export async function ask(
  this: IExecuteFunctions | IHookFunctions,
  request: ApiRequest,
  itemIndex = 0,
): Promise<unknown> {
  const answer = await send.call(this, request, itemIndex);
  if (answer.status < 200 || answer.status > 299) throw errorOf.call(this, answer, itemIndex);
  return answer.body;
}
